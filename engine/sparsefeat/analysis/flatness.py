"""How much of a picture is flat, as the network sees it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError

BLOCK = 8
"""Height and width of the blocks whose variance is taken, in pixels of the network's input."""

FLAT_VARIANCE = 9.0
"""A block is flat below it: a standard deviation of 3 of 255 levels."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue: ITU-R BT.601


@dataclass(frozen=True, kw_only=True, slots=True)
class Flatness:
    """Two measures of the local variance of one picture.

    `flat_share` is the share of blocks that are flat, 0 to 1. `log_variance` is the mean over
    the blocks of log10(1 + variance): 0 for one colour, about 4 at most.
    """

    flat_share: float
    log_variance: float


def flatness_of(pixels: npt.NDArray[np.uint8]) -> Flatness:
    """Measure a picture's local variance.

    The luminance is cut into blocks of 8x8 pixels from the upper left corner on, and the variance
    of each taken; rows and columns that fill no block are left out.

    Parameters
    ----------
    pixels
        uint8 (H, W, 3), red first, as resized for the network.

    Raises
    ------
    InputError
        It has another dtype or shape, or is smaller than one block.

    Examples
    --------
    >>> flatness_of(np.full((224, 224, 3), 200, np.uint8))
    Flatness(flat_share=1.0, log_variance=0.0)
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(
            f"got pixels of {pixels.dtype} {pixels.shape}, expected uint8 (H, W, 3): decode the "
            "picture first"
        )
    rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    if not rows or not columns:
        raise InputError(f"got pixels {pixels.shape}, expected at least {BLOCK}x{BLOCK} of them")
    whole = pixels[: rows * BLOCK, : columns * BLOCK].astype(np.float32)
    luminance = (whole @ _LUMA).reshape(rows, BLOCK, columns, BLOCK)
    variances = luminance.var(axis=(1, 3), dtype=np.float64)
    return Flatness(
        flat_share=float(np.mean(variances < FLAT_VARIANCE)),
        log_variance=float(np.log10(1 + variances).mean()),
    )
