"""What paired measurements say, and what they don't."""

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
    """A median, and between which values it lies with 95 % confidence."""

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


def median_interval(values: Float64, *, seed: int = 0) -> Interval:
    """Bootstrap the median: percentiles over resampled rounds.

    Parameters
    ----------
    values
        One for each round, (rounds,).

    Examples
    --------
    >>> median_interval(np.array([1.0, 2.0, 3.0])).median
    2.0
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(values), (RESAMPLES, len(values)))
    medians = np.median(values[chosen], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Interval(median=float(np.median(values)), low=float(low), high=float(high))


def noise(rates: Float64, *, seed: int = 0) -> float:
    """Estimate by how much an engine seems to differ from itself.

    Each round is paired with the next one, half of the pairs turned round at random, and the
    median ratio taken, as for two engines. 95 % of such ratios are nearer to 1 than what is
    returned. There are half as many pairs as rounds, so it is rather too large than too small.

    Parameters
    ----------
    rates
        Images/s of one engine, (rounds,).

    Returns
    -------
    float
        0.03 means three percent; infinity where there are no two rounds.
    """
    n_pairs = len(rates) // 2
    if not n_pairs:
        return float("inf")
    pairs = np.log(rates[: 2 * n_pairs]).reshape(n_pairs, 2)
    differences = pairs[:, 0] - pairs[:, 1]
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (RESAMPLES, n_pairs))
    medians = np.abs(np.median(signs * differences, axis=1))
    return float(np.expm1(np.quantile(medians, CONFIDENCE)))


def compare_rates(ours: Float64, theirs: Float64, *, seed: int = 0) -> Ratio:
    """Say how many times as fast `ours` is as `theirs`, in the same rounds.

    A difference is claimed only if the interval of the median ratio leaves out 1, and the ratio
    is further from 1 than the noise of either.

    Parameters
    ----------
    ours, theirs
        Images/s, (rounds,).
    """
    ratios = ours / theirs
    interval = median_interval(ratios, seed=seed)
    spread = max(noise(ours, seed=seed), noise(theirs, seed=seed))
    verdict: Verdict = "no difference"
    if len(ratios) < MIN_ROUNDS:
        verdict = "too few rounds"
    elif interval.low > 1 and interval.median > 1 + spread:
        verdict = "faster"
    elif interval.high < 1 and interval.median < 1 / (1 + spread):
        verdict = "slower"
    return Ratio(interval=interval, noise=spread, verdict=verdict)
