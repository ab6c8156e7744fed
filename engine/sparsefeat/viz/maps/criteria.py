"""What makes a channel worth looking at, in one number each.

All are measured on the layer's output, after ReLU, whatever stage is shown.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

Criterion = Literal["energy", "variance", "contrast", "selectivity"]


def energy(maps: Float32) -> Float64:
    """Mean over all places of the squared activation.

    Parameters
    ----------
    maps
        float32 (H, W, C); squares and sums are in double.

    Returns
    -------
    float64 (C,)

    Examples
    --------
    >>> energy(np.array([[[3.0], [1.0]]], np.float32))
    array([5.])
    """
    means: Float64 = np.square(maps, dtype=np.float64).mean(axis=(0, 1))
    return means


def variance(maps: Float32) -> Float64:
    """Variance over all places: mean squared distance from the channel's mean. As `energy`.

    Examples
    --------
    >>> variance(np.array([[[3.0], [1.0]]], np.float32))
    array([1.])
    """
    variances: Float64 = maps.var(axis=(0, 1), dtype=np.float64)
    return variances


def contrast(maps: Float32) -> Float64:
    """Mean absolute difference between neighbours, along rows and along columns. As `energy`.

    Every pair of neighbours counts once: H * (W - 1) along the rows and (H - 1) * W along the
    columns. Sharp edges give much, smooth blobs little; a map of one place gives 0.

    Examples
    --------
    >>> contrast(np.array([[[3.0], [1.0]]], np.float32))
    array([2.])
    """
    exact = maps.astype(np.float64)
    height, width, _ = maps.shape
    total: Float64 = np.abs(np.diff(exact, axis=0)).sum(axis=(0, 1))
    total += np.abs(np.diff(exact, axis=1)).sum(axis=(0, 1))
    pairs: int = height * (width - 1) + (height - 1) * width
    return total / max(pairs, 1)


def selectivity(maps: Float32, reference: Float64) -> Float64:
    """How much more a channel does here than on other photographs, from -1 to 1.

    With ``a`` the channel's mean over all places here, ``r`` the same over the reference set,
    and ``m`` the mean of ``r`` over all channels of the layer::

        (a - r) / (a + r + m)

    This is the contrast index (a - r) / (a + r), damped by ``m``: without it, a channel that is
    nearly silent here and quite silent elsewhere would count as the most selective one.

    Parameters
    ----------
    maps
        float32 (H, W, C), not negative.
    reference
        float64 (C,): mean activation of each channel over places and photographs.

    Returns
    -------
    float64 (C,)

    Examples
    --------
    >>> selectivity(np.array([[[3.0, 0.0]]], np.float32), np.array([1.0, 1.0]))
    array([ 0.4, -0.5])
    """
    here: Float64 = maps.mean(axis=(0, 1), dtype=np.float64)
    total = here + reference + reference.mean()
    index: Float64 = np.zeros_like(here)
    np.divide(here - reference, total, out=index, where=total > 0)
    return index


OF_ONE_PICTURE: MappingProxyType[str, Callable[[Float32], Float64]] = MappingProxyType(
    {"energy": energy, "variance": variance, "contrast": contrast}
)
CRITERIA: tuple[str, ...] = (*OF_ONE_PICTURE, "selectivity")
