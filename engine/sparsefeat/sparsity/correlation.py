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

    Pearson's interval is Fisher's, from scipy. Spearman's is that of Bonett and Wright (2000):
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
    linear = stats.pearsonr(x, y)
    bounds = linear.confidence_interval(CONFIDENCE)
    return Correlation(
        n_pictures=n,
        spearman=_spearman(float(stats.spearmanr(x, y).statistic), n),
        pearson=_estimate(float(linear.statistic), float(bounds.low), float(bounds.high)),
    )


def _spearman(r: float, n: int) -> Estimate:
    from scipy import stats

    # A perfect order has no width in Fisher's terms: its bound is that of the order which
    # differs in one pair of neighbours, the next best there is.
    nearest = 1 - 12 / (n * (n * n - 1))
    inner = max(-nearest, min(nearest, r))
    margin = stats.norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt((1 + inner * inner / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inner) - margin), math.tanh(math.atanh(inner) + margin)
    if abs(r) > nearest + 1e-12:
        r = math.copysign(1.0, r)
        low, high = (low, 1.0) if r > 0 else (-1.0, high)
    return Estimate(value=r, low=low, high=high)


def _estimate(value: float, low: float, high: float) -> Estimate | None:
    if not all(map(math.isfinite, (value, low, high))):
        return None
    return Estimate(value=value, low=low, high=high)
