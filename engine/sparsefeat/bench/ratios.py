"""What paired measurements say, and what they don't."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["faster", "slower", "no difference", "too few rounds"]
Float64 = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 4000

# With five rounds even the whole range of their ratios holds the median less than 95 % of the time.
MIN_ROUNDS = 6


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median, and between which values it lies with 95 % confidence or more.

    Of fewer than six values `low` and `high` are the least and the greatest: that is less.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast one engine is as another, round by round.

    `noise` is how far from 1 the ratio of an engine to itself would come out.
    """

    interval: Interval
    noise: float
    verdict: Verdict


def median_interval(values: Float64) -> Interval:
    """Take for the median's interval the values that stand at equal ranks from both ends.

    How many of n independent values lie below the true median is binomial, whatever their
    distribution, so the ranks follow from n: the innermost pair that holds the median at least
    95 % of the time (David and Nagaraja, Order Statistics, 7.1).

    Parameters
    ----------
    values
        One for each round, (rounds,).

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
    """Say by how much an engine seemed to differ from itself.

    It had two turns in each round, as two engines have one each: what slows both down is in
    neither ratio. Which of the two is the first means nothing, so their ratios are turned round at
    random; 95 % of the medians are nearer to 1 than what is returned.

    Parameters
    ----------
    first, second
        Images/s of the same engine, (rounds,).

    Returns
    -------
    float
        0.03 means three percent; infinity where there are no rounds.
    """
    if not len(first):
        return math.inf
    differences = np.log(first / second)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (RESAMPLES, len(differences)))
    medians = np.abs(np.median(signs * differences, axis=1))
    return float(np.expm1(np.quantile(medians, CONFIDENCE)))


def compare_rates(ours: Float64, theirs: Float64, *, noise: float) -> Ratio:
    """Say how many times as fast `ours` is as `theirs`, in the same rounds.

    A difference is claimed only if the interval of the median ratio leaves out 1, and the ratio
    is further from 1 than the noise.

    Parameters
    ----------
    ours, theirs
        Images/s, (rounds,).
    noise
        How far from 1 an engine's ratio to itself came out in these rounds.
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
