"""The flatness of a store's pictures, from the files that they were made of."""

import os
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sparsefeat.analysis.flatness import Flatness, flatness_of
from sparsefeat.errors import InputError
from sparsefeat.images import PRESETS, Preset
from sparsefeat.images.decode import Decoded, decode
from sparsefeat.images.originals import read_original
from sparsefeat.store import Store
from sparsefeat.system.ordered import map_ordered
from sparsefeat.system.threads import available_threads

Float64 = npt.NDArray[np.float64]


def stored_flatness(
    store: Store,
    *,
    photos: str | os.PathLike[str] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Float64, Float64, dict[str, int]]:
    """Measure the flatness of the pictures whose rows a store holds.

    The files are read again, brought to size as they were, and left out where they are gone or
    their digest is another one.

    Parameters
    ----------
    store
        The store, from `sparsefeat.open`.
    photos
        Where the pictures are now, if they were moved.
    report
        Called with the pictures looked at, and of how many.

    Returns
    -------
    tuple
        `flat_share` and `log_variance`, float64 (N,) each, in the order of the rows; NaN for a
        picture that was left out. Then why pictures were left out, and how many.

    Raises
    ------
    InputError
        The store doesn't say how pictures were brought to size, or this version of sparsefeat
        does it otherwise.
    """
    preset, size = _preparation(store)
    obs = store.obs
    found = np.full((2, len(obs)), np.nan)
    unmeasured: Counter[str] = Counter()

    def measure(item: tuple[str, str, str]) -> Flatness | str:
        content = read_original(*item, photos)
        if isinstance(content, str):
            return content
        decoded = decode(content, preset, size)
        return flatness_of(decoded.pixels) if isinstance(decoded, Decoded) else decoded.reason

    threads = available_threads()
    items = zip(obs["path"], obs["root"], obs["sha256"], strict=True)
    results = map_ordered(measure, items, threads=threads, ahead=4 * threads)
    for row, result in enumerate(results):
        if isinstance(result, str):
            unmeasured[result] += 1
        else:
            found[:, row] = result.flat_share, result.log_variance
        if report is not None:
            report(row + 1, len(obs))
    return found[0], found[1], dict(unmeasured.most_common())


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
