"""The flatness of a store's pictures, from the files that they were made of."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.ordered import map_ordered
from sparsefeat.pictures import PRESETS, Preset, decode_path
from sparsefeat.pictures.decode import Decoded, decode
from sparsefeat.sparsity.flatness import flatness_of
from sparsefeat.store import Store
from sparsefeat.threads import available_threads

Float64 = npt.NDArray[np.float64]


def stored_flatness(
    store: Store, *, report: Callable[[int, int], None] | None = None
) -> tuple[Float64, Float64]:
    """Measure the flatness of the pictures whose rows a store holds.

    The files are read again, brought to size as they were, and left out where they are gone or
    their digest is another one.

    Returns
    -------
    tuple
        `flat_share` and `log_variance`, float64 (N,) each, in the order of the rows; NaN for a
        picture that was left out.

    Raises
    ------
    InputError
        The store doesn't say how pictures were brought to size, or this version of sparsefeat
        does it otherwise.
    """
    preset, size = _preparation(store)
    obs = store.obs
    found = np.full((2, len(obs)), np.nan)

    def measure(item: tuple[str, str, str]) -> tuple[float, float]:
        root, path, digest = item
        decoded = decode(Path(decode_path(root)) / decode_path(path), preset, size)
        if not isinstance(decoded, Decoded) or decoded.row.sha256 != digest:
            return np.nan, np.nan
        measured = flatness_of(decoded.pixels)
        return measured.flat_share, measured.log_variance

    threads = available_threads()
    items = zip(obs["root"], obs["path"], obs["sha256"], strict=True)
    results = map_ordered(measure, items, threads=threads, ahead=4 * threads)
    for row, result in enumerate(results):
        found[:, row] = result
        if report is not None:
            report(row + 1, len(obs))
    return found[0], found[1]


def _preparation(store: Store) -> tuple[Preset, tuple[int, int]]:
    recipe, size = store.settings.get("preprocess"), store.settings.get("size")
    name = recipe.get("name") if isinstance(recipe, dict) else None
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None or preset.recipe() != recipe or not isinstance(size, list) or len(size) != 2:
        raise InputError(
            f"{os.fspath(store.folder)} was made with preprocessing {name!r} in a way that this "
            "version doesn't know, expected one of its presets: leave flatness out"
        )
    height, width = size
    assert isinstance(height, int)
    assert isinstance(width, int)
    return preset, (height, width)
