"""Correlates two measures of the same images, and compares two sets of images."""

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

# With fewer images the confidence interval contains every correlation.
MIN_IMAGES = 4

Verdict = Literal["more zeros", "fewer zeros", "no difference shown", "too few images"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value with its 95 % confidence interval, `low` to `high`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlation:
    """Rank (Spearman) and linear (Pearson) correlation over `n_images` images.

    Both are None for fewer than four images, and if a measure is the same for all images.
    """

    n_images: int
    spearman: Estimate | None
    pearson: Estimate | None


def correlate(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Correlation:
    """Correlate two measures, float64 (N,) each; images for which one is NaN are left out.

    Pearson's interval is Fisher's, from scipy. Spearman's is that of Bonett and Wright (2000):
    Fisher's transformation with the standard error sqrt((1 + r^2 / 2) / (N - 3)). For a perfect
    correlation, both would give an interval of width 0. Its interval instead begins where that of
    the second largest rank correlation of N images begins, and ends at 1; for -1 it is mirrored.

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
    """Return the rank correlation of two orders that differ by one swap of neighbours."""
    return 1 - 12 / (n * (n * n - 1))


def _fisher(r: float, n: int, *, variance: float) -> Estimate:
    """Estimate by Fisher's transformation, whose variance is `variance` / (N - 3).

    The transformation of a perfect correlation is infinite, so one bound of its interval is that
    of the second largest rank correlation; see `correlate`.
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
    """The mean share of zeros of the set `name`, minus that of the set `baseline`.

    `low` and `high` are the ends of the 95 % confidence interval of the difference of the means.
    They are None if a set has fewer than two images, or if the images of each set all have the
    same share, so that their spread isn't known. `verdict` claims a difference only if the
    interval doesn't contain 0. The intervals aren't corrected for multiple comparisons: of twenty
    comparisons of sets that don't differ, about one claims a difference.
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
    """Compare two sets of images by Welch's t interval, which allows different variances.

    The images of a set are assumed to be independent: frames of one film are not.

    Parameters
    ----------
    ours, theirs
        Share of zeros in each image, float64 (N,) and (M,).
    layer, name, baseline
        The names of the layer, of the set, and of the set that it is compared with.

    Returns
    -------
    Difference or None
        None if one of the sets is empty.

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
    if np.ptp(ours) == np.ptp(theirs) == 0:  # no spread was seen, so none can be estimated
        return None, None
    from scipy import stats

    with warnings.catch_warnings():  # scipy warns if one of the sets has no spread: that is fine
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "too few images"
    if low > 0:
        return "more zeros"
    return "fewer zeros" if high < 0 else "no difference shown"
