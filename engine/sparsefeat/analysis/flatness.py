"""Measures how much of an image is flat, as the network sees it."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.images import PRESETS, Decoded, Preset, decode, read_original
from sparsefeat.store import Store
from sparsefeat.system import available_threads, map_ordered

Float64 = npt.NDArray[np.float64]

BLOCK = 8
"""Height and width of the blocks whose variance is taken, in pixels of the network's input."""

FLAT_VARIANCE = 9.0
"""A block whose variance is below this is flat: a standard deviation of 3 of 255 levels."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue: ITU-R BT.601


@dataclass(frozen=True, kw_only=True, slots=True)
class Flatness:
    """Two measures of the local variance of one image.

    `flat_share` is the share of blocks that are flat, 0 to 1. `log_variance` is the mean over
    the blocks of log10(1 + variance): 0 for a single colour, at most about 4.
    """

    flat_share: float
    log_variance: float


def compute_flatness(pixels: npt.NDArray[np.uint8]) -> Flatness:
    """Measure an image's local variance.

    The luminance (ITU-R BT.601) is cut into blocks of 8x8 pixels from the upper left corner; rows
    and columns that don't fill a block are left out.

    Parameters
    ----------
    pixels
        uint8 (H, W, 3), red first, as resized for the network.

    Raises
    ------
    InputError
        `pixels` has another dtype or shape, or is smaller than one block.

    Examples
    --------
    >>> compute_flatness(np.full((224, 224, 3), 200, np.uint8))
    Flatness(flat_share=1.0, log_variance=0.0)
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise InputError(
            f"got pixels of {pixels.dtype} {pixels.shape}, expected uint8 (H, W, 3): decode the "
            "image first"
        )
    rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    if not rows or not columns:
        raise InputError(
            f"got an image of {pixels.shape[0]}x{pixels.shape[1]} pixels, expected at least "
            f"{BLOCK}x{BLOCK}"
        )
    whole = pixels[: rows * BLOCK, : columns * BLOCK].astype(np.float32)
    luminance = (whole @ _LUMA).reshape(rows, BLOCK, columns, BLOCK)
    variances = luminance.var(axis=(1, 3), dtype=np.float64)
    return Flatness(
        flat_share=float(np.mean(variances < FLAT_VARIANCE)),
        log_variance=float(np.log10(1 + variances).mean()),
    )


def stored_flatness(
    store: Store,
    *,
    images: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Float64, Float64, dict[str, int]]:
    """Measure the flatness of the images of a store.

    The original files are read again and resized as for the store. A file that is missing, or
    whose digest differs from the recorded one, is left out.

    Parameters
    ----------
    store
        The store, from `sparsefeat.open`.
    images
        The folder where the images are now, if they were moved.
    progress
        Called with the number of images done, and their total.

    Returns
    -------
    tuple
        `flat_share` and `log_variance`, float64 (N,) each, in the order of the rows, NaN for an
        image that was left out; and the number of images left out for each reason.

    Raises
    ------
    InputError
        The store doesn't say how its images were resized, or this version of sparsefeat doesn't
        have that preset, or defines it differently.
    """
    preset, size = _preparation(store)
    obs = store.obs
    found = np.full((2, len(obs)), np.nan)
    unmeasured: Counter[str] = Counter()

    def measure(item: tuple[str, str, str]) -> Flatness | str:
        content = read_original(*item, images)
        if isinstance(content, str):
            return content
        decoded = decode(content, preset, size)
        return compute_flatness(decoded.pixels) if isinstance(decoded, Decoded) else decoded.reason

    threads = available_threads()
    items = zip(obs["path"], obs["root"], obs["sha256"], strict=True)
    results = map_ordered(measure, items, threads=threads, ahead=4 * threads)
    for row, result in enumerate(results):
        if isinstance(result, str):
            unmeasured[result] += 1
        else:
            found[:, row] = result.flat_share, result.log_variance
        if progress is not None:
            progress(row + 1, len(obs))
    return found[0], found[1], dict(unmeasured.most_common())


def _preparation(store: Store) -> tuple[Preset, tuple[int, int]]:
    recipe, size = store.settings.get("preprocess"), store.settings.get("size")
    name = recipe.get("name") if isinstance(recipe, dict) else None
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None or preset.recipe() != recipe or not isinstance(size, list) or len(size) != 2:
        raise InputError(
            f"{os.fspath(store.folder)} was made with preprocessing {name!r}, which this version "
            "of sparsefeat doesn't have, or defines differently: leave flatness out"
        )
    height, width = size
    assert isinstance(height, int)
    assert isinstance(width, int)
    return preset, (height, width)
