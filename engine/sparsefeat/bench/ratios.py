"""Confidence intervals and verdicts of paired measurements."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["faster", "slower", "no difference", "too few rounds"]
Float64 = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 4000

# With five rounds, even the range of all ratios contains the true median less than 95 % of the
# time.
MIN_ROUNDS = 6


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median with a confidence interval of at least 95 %, `low` to `high`.

    With fewer than six values the interval is their range, whose confidence is lower.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The ratio of two engines' images/s, from paired rounds.

    `noise` is how far from 1 the ratio of an engine to itself is in these rounds.
    """

    interval: Interval
    noise: float
    verdict: Verdict


def median_interval(values: Float64) -> Interval:
    """Return the median with its distribution-free confidence interval.

    The interval's ends are two of the values, at equal ranks from both ends: the innermost pair
    that contains the true median at least 95 % of the time. The number of independent values
    below the true median is binomial, so the ranks depend on the number of values only (David and
    Nagaraja, Order Statistics, 7.1).

    Parameters
    ----------
    values
        float64 (rounds,): one value for each round.

    Examples
    --------
    >>> median_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]))
    Interval(median=5.0, low=2.0, high=8.0)
    """
    from scipy.stats import quantile_test

    low, high = np.asarray(quantile_test(values, p=0.5).confidence_interval(CONFIDENCE))
    if np.isnan(low):
        low, high = values.min(), values.max()
    return Interval(median=float(np.median(values)), low=float(low), high=float(high))


def noise(first: Float64, second: Float64, *, seed: int = 0) -> float:
    """Estimate how far from 1 the median ratio of an engine to itself is, by chance.

    The engine had two turns in each round. Which of the two is called the first is arbitrary, so
    the ratios are inverted at random, many times; 95 % of the medians are closer to 1 than the
    result.

    Parameters
    ----------
    first, second
        float64 (rounds,): images/s of the same engine in its two turns.

    Returns
    -------
    float
        0.03 means 3 %; infinity without rounds.
    """
    if not len(first):
        return math.inf
    differences = np.log(first / second)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (RESAMPLES, len(differences)))
    medians = np.abs(np.median(signs * differences, axis=1))
    return float(np.expm1(np.quantile(medians, CONFIDENCE)))


def compare_rates(ours: Float64, theirs: Float64, *, noise: float) -> Ratio:
    """Compare two engines by the ratio of their images/s in the same rounds.

    The verdict claims a difference only if the interval of the median ratio doesn't contain 1,
    the ratio is further from 1 than the noise, and there are at least six rounds.

    Parameters
    ----------
    ours, theirs
        float64 (rounds,): images/s of the two engines.
    noise
        How far from 1 the ratio of an engine to itself is in these rounds; see `noise`.
    """
    ratios = ours / theirs
    interval = median_interval(ratios)
    verdict: Verdict = "no difference"
    if len(ratios) < MIN_ROUNDS:
        verdict = "too few rounds"
    elif interval.low > 1 and interval.median > 1 + noise:
        verdict = "faster"
    elif interval.high < 1 and interval.median < 1 / (1 + noise):
        verdict = "slower"
    return Ratio(interval=interval, noise=noise, verdict=verdict)
