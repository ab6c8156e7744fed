"""How two figures of the same pictures go together."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

# Below it, any correlation is within the interval.
MIN_PICTURES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure, and between which values it lies with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlation:
    """Rank and linear correlation over `n_pictures`; None where there is nothing to say.

    That is so for fewer than four pictures, and where all have the same figure.
    """

    n_pictures: int
    spearman: Estimate | None
    pearson: Estimate | None


def correlate(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Correlation:
    """Correlate two figures, float64 (N,) each; pictures where one is NaN are left out.

    Pearson's interval is Fisher's, from scipy; that of a straight line has the width of a perfect
    order of so few pictures, not none. Spearman's is that of Bonett and Wright (2000):
    Fisher's transformation with the standard error sqrt((1 + r^2 / 2) / (N - 3)).

    Examples
    --------
    >>> found = correlate(np.arange(6.0), np.arange(6.0) ** 3)
    >>> found.spearman.value, round(found.pearson.value, 2)
    (1.0, 0.91)
    """
    from scipy import stats

    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    n = len(x)
    if n < MIN_PICTURES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(n_pictures=n, spearman=None, pearson=None)
    return Correlation(
        n_pictures=n,
        spearman=_spearman(float(stats.spearmanr(x, y).statistic), n),
        pearson=_pearson(x, y),
    )


def _pearson(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Estimate | None:
    from scipy import stats

    linear = stats.pearsonr(x, y)
    r, bounds = float(linear.statistic), linear.confidence_interval(CONFIDENCE)
    if abs(r) > 1 - 1e-12:
        return _perfect(r, len(x), variance=1.0)
    return _estimate(r, float(bounds.low), float(bounds.high))


def _spearman(r: float, n: int) -> Estimate:
    if abs(r) > _nearest(n) + 1e-12:
        return _perfect(r, n, variance=1 + _nearest(n) ** 2 / 2)
    low, high = _fisher(r, n, variance=1 + r * r / 2)
    return Estimate(value=r, low=low, high=high)


def _nearest(n: int) -> float:
    """Give the rank correlation of an order that differs in one pair of neighbours alone."""
    return 1 - 12 / (n * (n * n - 1))


def _perfect(r: float, n: int, *, variance: float) -> Estimate:
    """Estimate a perfect correlation, which has no width in Fisher's terms.

    Its inner bound is that of the next best order there is.
    """
    low, high = _fisher(math.copysign(_nearest(n), r), n, variance=variance)
    if r > 0:
        return Estimate(value=1.0, low=low, high=1.0)
    return Estimate(value=-1.0, low=-1.0, high=high)


def _fisher(r: float, n: int, *, variance: float) -> tuple[float, float]:
    """Give the interval by Fisher's transformation; its variance is `variance` / (N - 3)."""
    from scipy import stats

    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance / (n - 3))
    return math.tanh(math.atanh(r) - margin), math.tanh(math.atanh(r) + margin)


def _estimate(value: float, low: float, high: float) -> Estimate | None:
    if not all(map(math.isfinite, (value, low, high))):
        return None
    return Estimate(value=value, low=low, high=high)
