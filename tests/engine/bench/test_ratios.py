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
    """Compare two engines on a machine whose speed changes from round to round.

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
def test_a_slow_period_hides_no_difference(factor: float, verdict: str) -> None:
    """15 % are found although rounds often differ by a third."""
    rng = np.random.default_rng(1)
    found = [on_a_shared_machine(rng, 15, factor, 0.07) for _ in range(200)]
    assert sum(one.verdict == verdict for one in found) >= 180
    assert not any(one.verdict in {"faster", "slower"} - {verdict} for one in found)


@pytest.mark.parametrize("rounds", range(6, 60))
def test_the_interval_is_the_narrowest_with_95_percent_confidence(
    rounds: int,
) -> None:
    """The number of values below the median is binomial, so the confidence is known exactly."""
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
def test_ranks_are_those_of_the_sign_test(rounds: int, rank: int) -> None:
    """At 5 %, two-sided, as printed in textbooks of statistics."""
    interval = median_interval(np.arange(float(rounds)))
    assert (interval.low, interval.high) == (rank, rounds - 1 - rank)
    assert interval.median == (rounds - 1) / 2


def test_thousands_of_rounds_have_an_interval() -> None:
    interval = median_interval(np.arange(5000.0))
    assert interval.low == pytest.approx(2500 - 1.96 * math.sqrt(5000) / 2, abs=2)


def test_common_drift_widens_neither_interval_nor_noise() -> None:
    drift = np.linspace(1, 3, 12)
    ratio = compare_rates(12 * drift, 10 * drift, noise=noise(10 * drift, 10 * drift))
    assert ratio.interval.low == pytest.approx(1.2)
    assert ratio.interval.high == pytest.approx(1.2)
    assert ratio.noise == 0
    assert ratio.verdict == "faster"


def test_a_difference_within_the_noise_is_no_difference() -> None:
    """Two per cent in every round, while two turns of one engine differ by twenty."""
    first, second = np.tile([9.0, 11.0], 8), np.tile([11.0, 9.0], 8)
    ratio = compare_rates(1.02 * first, first, noise=noise(first, second))
    assert ratio.interval.low > 1
    assert ratio.noise > 0.1
    assert ratio.verdict == "no difference"


def test_five_rounds_are_too_few() -> None:
    assert compare_rates(np.full(5, 9.0), np.ones(5), noise=0).verdict == "too few rounds"
    assert compare_rates(np.full(6, 9.0), np.ones(6), noise=0).verdict == "faster"


def test_without_a_second_turn_no_difference_is_claimed() -> None:
    nothing = noise(np.array([]), np.array([]))
    assert math.isinf(nothing)
    assert compare_rates(np.full(6, 9.0), np.ones(6), noise=nothing).verdict == "no difference"


def test_one_round_gives_an_interval_of_one_value() -> None:
    ratio = compare_rates(np.array([3.0]), np.array([2.0]), noise=0)
    assert ratio.interval.low == ratio.interval.median == ratio.interval.high == 1.5


@pytest.mark.parametrize("seed", [0, 3])
def test_the_noise_does_not_depend_on_the_order_of_the_turns(seed: int) -> None:
    """Of all ways to swap the two turns of ten rounds, 95 % give a median ratio nearer to 1."""
    first, second = np.exp(np.random.default_rng(0).normal(0, 0.2, (2, 10)))
    apart = [
        math.exp(abs(statistics.median(ratios))) - 1
        for ratios in itertools.product(*([one, -one] for one in np.log(first / second).tolist()))
    ]
    for found in (noise(first, second, seed=seed), noise(second, first, seed=seed)):
        nearer = sum(one < found * (1 - 1e-9) for one in apart) / len(apart)
        not_further = sum(one <= found * (1 + 1e-9) for one in apart) / len(apart)
        assert nearer - 0.0105 <= 0.95 <= not_further + 0.0105  # three deviations of 4000 draws
