"""Whether one set of pictures has more zeros than another."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sparsefeat.analysis.correlation import CONFIDENCE

Verdict = Literal["more zeros", "fewer zeros", "no difference shown", "too few pictures"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The mean share of zeros of `name`'s pictures, less that of `baseline`'s.

    `low` and `high` are the ends of the 95 % confidence interval of the difference of the means,
    None where one of the sets has fewer than two pictures, or where neither set's pictures differ
    among themselves, so that nothing tells how far they spread. A difference is claimed only where
    the interval leaves out 0. Each interval stands for itself: of twenty comparisons of sets that
    don't differ, one claims a difference.
    """

    layer: str
    name: str
    baseline: str
    n_pictures: int
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
    """Compare two sets of pictures by Welch's method, which lets their spreads differ.

    Parameters
    ----------
    ours, theirs
        Share of zeros in each picture, float64 (N,) and (M,). The pictures are taken as
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
    difference = float(ours.mean() - theirs.mean())
    low, high = _interval(ours, theirs, difference)
    return Difference(
        layer=layer,
        name=name,
        baseline=baseline,
        n_pictures=len(ours),
        n_baseline=len(theirs),
        mean=float(ours.mean()),
        baseline_mean=float(theirs.mean()),
        difference=difference,
        low=low,
        high=high,
        verdict=_verdict(low, high),
    )


def _interval(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], difference: float
) -> tuple[float, float] | tuple[None, None]:
    n, m = len(ours), len(theirs)
    if min(n, m) < 2:
        return None, None
    a, b = float(ours.var(ddof=1)) / n, float(theirs.var(ddof=1)) / m
    if a + b == 0:  # that a few pictures agree doesn't tell that all would
        return None, None
    from scipy import stats

    freedom = (a + b) ** 2 / (a * a / (n - 1) + b * b / (m - 1))  # Welch and Satterthwaite's
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(a + b)
    return difference - margin, difference + margin


def _verdict(low: float | None, high: float | None) -> Verdict:
    if low is None or high is None:
        return "too few pictures"
    if low > 0:
        return "more zeros"
    return "fewer zeros" if high < 0 else "no difference shown"
