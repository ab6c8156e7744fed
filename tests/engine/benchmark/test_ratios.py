import math

import numpy as np
import pytest

from sparsefeat.benchmark.ratios import Float64, compare_rates, median_interval, noise


def drifting(rng: np.random.Generator, rounds: int, factor: float, noise: float) -> list[Float64]:
    """Rates of two engines on a machine that slows and quickens, seen by both."""
    drift = np.exp(np.cumsum(rng.normal(0, 0.05, rounds)))
    own = np.exp(rng.normal(0, noise, (2, rounds)))
    return [10 * drift * own[0], 10 / factor * drift * own[1]]


@pytest.mark.parametrize("rounds", [6, 15])
@pytest.mark.parametrize("spread", [0.01, 0.2])
def test_an_engine_seldom_differs_from_itself(rounds: int, spread: float) -> None:
    rng = np.random.default_rng(0)
    verdicts = [compare_rates(*drifting(rng, rounds, 1.0, spread)).verdict for _ in range(200)]
    assert verdicts.count("no difference") >= 188  # of 190 that 95 % confidence would give


@pytest.mark.parametrize(("factor", "verdict"), [(2.0, "faster"), (0.5, "slower")])
def test_twice_as_fast_is_found(factor: float, verdict: str) -> None:
    rng = np.random.default_rng(1)
    found = [compare_rates(*drifting(rng, 10, factor, 0.1)) for _ in range(50)]
    assert sum(one.verdict == verdict for one in found) >= 49
    held = sum(one.interval.low <= factor <= one.interval.high for one in found)
    assert held >= 44


def test_drift_that_both_see_does_not_widen_the_interval() -> None:
    drift = np.linspace(1, 3, 12)
    ratio = compare_rates(12 * drift, 10 * drift)
    assert ratio.interval.low == pytest.approx(1.2)
    assert ratio.interval.high == pytest.approx(1.2)


def test_a_difference_inside_the_noise_is_none() -> None:
    """Two percent in every round, but each engine varies by twenty from round to round."""
    base = np.tile([9.0, 11.0], 8)
    ratio = compare_rates(1.02 * base, base)
    assert ratio.interval.low > 1
    assert ratio.noise > 0.1
    assert ratio.verdict == "no difference"


def test_five_rounds_tell_nothing() -> None:
    assert compare_rates(np.full(5, 9.0), np.full(5, 1.0)).verdict == "too few rounds"
    assert compare_rates(np.full(6, 9.0), np.full(6, 1.0)).verdict == "faster"


def test_one_round_is_no_error() -> None:
    ratio = compare_rates(np.array([3.0]), np.array([2.0]))
    assert ratio.interval.low == ratio.interval.median == ratio.interval.high == 1.5
    assert math.isinf(ratio.noise)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(2).normal(10, 1, 12)
    assert median_interval(values, seed=3) == median_interval(values, seed=3)
    interval = median_interval(values)
    assert min(values) <= interval.low <= interval.median <= interval.high <= max(values)


def test_a_steady_engine_has_no_noise() -> None:
    assert noise(np.full(10, 7.0)) == 0
    assert 0.05 < noise(np.exp(np.random.default_rng(0).normal(0, 0.2, 20))) < 0.5
