"""How two figures of the same images go together, and whether two sets of images differ."""

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

# Below it, any correlation is within the interval.
MIN_IMAGES = 4

Verdict = Literal["more zeros", "fewer zeros", "no difference shown", "too few images"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure, and between which values it lies with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlation:
    """Rank and linear correlation over `n_images`; None where there is nothing to say.

    That is so for fewer than four images, and where all have the same figure.
    """

    n_images: int
    spearman: Estimate | None
    pearson: Estimate | None


def correlate(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Correlation:
    """Correlate two figures, float64 (N,) each; images where one is NaN are left out.

    Pearson's interval is Fisher's, from scipy; that of a straight line has the width of a perfect
    order of so few images, not none. Spearman's is that of Bonett and Wright (2000):
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
    if n < MIN_IMAGES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(n_images=n, spearman=None, pearson=None)
    rank, linear = float(stats.spearmanr(x, y).statistic), stats.pearsonr(x, y)
    r, bounds = float(linear.statistic), linear.confidence_interval(CONFIDENCE)
    return Correlation(
        n_images=n,
        spearman=_fisher(rank, n, variance=1 + min(abs(rank), _nearest(n)) ** 2 / 2),
        pearson=_fisher(math.copysign(1, r), n, variance=1)
        if abs(r) > 1 - 1e-12
        else _finite(r, float(bounds.low), float(bounds.high)),
    )


def _nearest(n: int) -> float:
    """Give the rank correlation of an order that differs in one pair of neighbours alone."""
    return 1 - 12 / (n * (n * n - 1))


def _fisher(r: float, n: int, *, variance: float) -> Estimate:
    """Estimate by Fisher's transformation, whose variance is `variance` / (N - 3).

    A perfect correlation has no width in its terms: it gets the inner bound of the next best
    order there is.
    """
    from scipy import stats

    nearest = _nearest(n)
    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance / (n - 3))
    middle = math.atanh(max(-nearest, min(r, nearest)))
    low, high = math.tanh(middle - margin), math.tanh(middle + margin)
    if abs(r) <= nearest + 1e-12:
        return Estimate(value=r, low=low, high=high)
    if r > 0:
        return Estimate(value=1.0, low=low, high=1.0)
    return Estimate(value=-1.0, low=-1.0, high=high)


def _finite(value: float, low: float, high: float) -> Estimate | None:
    known = all(map(math.isfinite, (value, low, high)))
    return Estimate(value=value, low=low, high=high) if known else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The mean share of zeros of `name`'s images, less that of `baseline`'s.

    `low` and `high` are the ends of the 95 % confidence interval of the difference of the means,
    None where one of the sets has fewer than two images, or where neither set's images differ
    among themselves, so that nothing tells how far they spread. A difference is claimed only where
    the interval leaves out 0. Each interval stands for itself: of twenty comparisons of sets that
    don't differ, one claims a difference.
    """

    layer: str
    name: str
    baseline: str
    n_images: int
    n_baseline: int
    mean: float
    baseline_mean: float
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict


def compare_shares(
    ours: npt.NDArray[np.float64],
    theirs: npt.NDArray[np.float64],
    *,
    layer: str,
    name: str,
    baseline: str,
) -> Difference | None:
    """Compare two sets of images by Welch's method, which lets their spreads differ.

    Parameters
    ----------
    ours, theirs
        Share of zeros in each image, float64 (N,) and (M,). The images are taken as
        independent draws from what they stand for: frames of one film are not.
    layer, name, baseline
        What to call them.

    Returns
    -------
    Difference, or None where one of the sets is empty.

    Examples
    --------
    >>> few, many = np.array([0.5, 0.52, 0.51]), np.array([0.6, 0.58, 0.61])
    >>> compare_shares(many, few, layer="fc1", name="b", baseline="a").verdict
    'more zeros'
    """
    if not len(ours) or not len(theirs):
        return None
    low, high = _interval(ours, theirs)
    return Difference(
        layer=layer,
        name=name,
        baseline=baseline,
        n_images=len(ours),
        n_baseline=len(theirs),
        mean=float(ours.mean()),
        baseline_mean=float(theirs.mean()),
        difference=float(ours.mean() - theirs.mean()),
        low=low,
        high=high,
        verdict=_verdict(low, high),
    )


def _interval(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]
) -> tuple[float, float] | tuple[None, None]:
    if min(len(ours), len(theirs)) < 2:
        return None, None
    if np.ptp(ours) == np.ptp(theirs) == 0:  # that a few images agree doesn't tell that all would
        return None, None
    from scipy import stats

    with warnings.catch_warnings():  # of no spread in one of them, which is as it should be
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "too few images"
    if low > 0:
        return "more zeros"
    return "fewer zeros" if high < 0 else "no difference shown"
