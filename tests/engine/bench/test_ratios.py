import itertools
import math
import statistics

import numpy as np
import pytest

from sparsefeat.bench.ratios import (
    Ratio,
    compare_rates,
    median_interval,
    noise,
)


def on_a_shared_machine(
    rng: np.random.Generator, rounds: int, factor: float, own: float, drift: float = 0.3
) -> Ratio:
    """Compare two engines where all turns of a round are slowed or quickened alike.

    `drift` is the standard deviation of the common change from round to round, `own` of what
    changes from turn to turn, both of the logarithm.
    """
    common = np.exp(np.cumsum(rng.normal(0, drift, rounds)))
    turns = 10 * common * np.exp(rng.normal(0, own, (3, rounds)))
    return compare_rates(factor * turns[0], turns[1], noise=noise(turns[1], turns[2]))


@pytest.mark.parametrize("rounds", [6, 15])
@pytest.mark.parametrize("own", [0.01, 0.2])
def test_an_engine_seldom_differs_from_itself(rounds: int, own: float) -> None:
    rng = np.random.default_rng(0)
    verdicts = [on_a_shared_machine(rng, rounds, 1.0, own).verdict for _ in range(400)]
    assert verdicts.count("no difference") >= 376  # 94 %


@pytest.mark.parametrize(("factor", "verdict"), [(1.15, "faster"), (1 / 1.15, "slower")])
def test_what_slows_both_down_hides_no_difference(factor: float, verdict: str) -> None:
    """15 % are found though a round is easily a third faster than the one before."""
    rng = np.random.default_rng(1)
    found = [on_a_shared_machine(rng, 15, factor, 0.07) for _ in range(200)]
    assert sum(one.verdict == verdict for one in found) >= 180
    assert not any(one.verdict in {"faster", "slower"} - {verdict} for one in found)


@pytest.mark.parametrize("rounds", range(6, 60))
def test_the_interval_is_the_narrowest_that_holds_the_median_as_often_as_it_says(
    rounds: int,
) -> None:
    """How many values lie below the median is binomial: tossed coins, counted exactly."""
    interval = median_interval(np.arange(float(rounds))[::-1])
    depth = int(interval.low)
    assert interval.high == rounds - 1 - depth

    def held(depth: int) -> float:
        outside = 2 * sum(math.comb(rounds, below) for below in range(depth + 1))
        return 1 - outside / float(2**rounds)

    assert held(depth + 1) < 0.95 <= held(depth)


@pytest.mark.parametrize(
    ("rounds", "rank"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (25, 7)]
)
def test_ranks_are_those_of_tables(rounds: int, rank: int) -> None:
    """Of the sign test at 5 %, two-sided, as statistics' textbooks print them."""
    interval = median_interval(np.arange(float(rounds)))
    assert (interval.low, interval.high) == (rank, rounds - 1 - rank)
    assert interval.median == (rounds - 1) / 2


def test_thousands_of_rounds_have_an_interval() -> None:
    interval = median_interval(np.arange(5000.0))
    assert interval.low == pytest.approx(2500 - 1.96 * math.sqrt(5000) / 2, abs=2)


def test_drift_that_both_see_widens_neither_interval_nor_noise() -> None:
    drift = np.linspace(1, 3, 12)
    ratio = compare_rates(12 * drift, 10 * drift, noise=noise(10 * drift, 10 * drift))
    assert ratio.interval.low == pytest.approx(1.2)
    assert ratio.interval.high == pytest.approx(1.2)
    assert ratio.noise == 0
    assert ratio.verdict == "faster"


def test_a_difference_inside_the_noise_is_none() -> None:
    """Two percent in every round, but an engine's own turns differ by twenty."""
    first, second = np.tile([9.0, 11.0], 8), np.tile([11.0, 9.0], 8)
    ratio = compare_rates(1.02 * first, first, noise=noise(first, second))
    assert ratio.interval.low > 1
    assert ratio.noise > 0.1
    assert ratio.verdict == "no difference"


def test_five_rounds_tell_nothing() -> None:
    assert compare_rates(np.full(5, 9.0), np.ones(5), noise=0).verdict == "too few rounds"
    assert compare_rates(np.full(6, 9.0), np.ones(6), noise=0).verdict == "faster"


def test_without_a_second_turn_nothing_is_claimed() -> None:
    nothing = noise(np.array([]), np.array([]))
    assert math.isinf(nothing)
    assert compare_rates(np.full(6, 9.0), np.ones(6), noise=nothing).verdict == "no difference"


def test_one_round_is_no_error() -> None:
    ratio = compare_rates(np.array([3.0]), np.array([2.0]), noise=0)
    assert ratio.interval.low == ratio.interval.median == ratio.interval.high == 1.5


@pytest.mark.parametrize("seed", [0, 3])
def test_which_turn_was_the_first_means_nothing(seed: int) -> None:
    """Of all the ways to turn the ratios of ten rounds round, 95 % come out nearer to 1."""
    first, second = np.exp(np.random.default_rng(0).normal(0, 0.2, (2, 10)))
    apart = [
        math.exp(abs(statistics.median(ratios))) - 1
        for ratios in itertools.product(*([one, -one] for one in np.log(first / second).tolist()))
    ]
    for found in (noise(first, second, seed=seed), noise(second, first, seed=seed)):
        nearer = sum(one < found * (1 - 1e-9) for one in apart) / len(apart)
        not_further = sum(one <= found * (1 + 1e-9) for one in apart) / len(apart)
        assert nearer - 0.0105 <= 0.95 <= not_further + 0.0105  # three deviations of 4000 draws
