"""The ready arrays that every engine is given."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import SourceError
from sparsefeat.pictures import list_pictures, preset
from sparsefeat.pictures.preprocess import normalize
from sparsefeat.records import Reject

Float32 = NDArray[np.float32]

# In the package that makes models, which isn't imported for them.
SHIPPED_IN = "sparsefeat_export"


@dataclass(frozen=True, kw_only=True)
class Images:
    """Preprocessed pictures: float32 (N, H, W, 3), of `paths`, over and over if they are fewer."""

    array: Float32
    paths: tuple[str, ...]


def load_images(
    photos: Sequence[str], count: int, *, size: tuple[int, int], preprocess: str = "keras"
) -> Images:
    """Decode as many photographs as there are needed, in the order of their names.

    Parameters
    ----------
    photos
        Folders, files and patterns; nothing means the ten photographs that sparsefeat ships.
    count
        How many arrays to make.

    Raises
    ------
    SourceError
        None of them can be read.
    """
    from sparsefeat.pictures.decode import decode

    chosen = preset(preprocess)
    pixels, paths = [], []
    for picture in list_pictures(list(photos) or [str(_shipped())]):
        decoded = picture if isinstance(picture, Reject) else decode(picture, chosen, size)
        if isinstance(decoded, Reject):
            continue
        pixels.append(decoded.pixels)
        paths.append(decoded.row.path)
        if len(pixels) == count:
            break
    if not pixels:
        raise SourceError(
            f"none of the files at {', '.join(photos)} is a picture that can be read; name others, "
            "or none to use those that sparsefeat ships"
        )
    repeated = [pixels[index % len(pixels)] for index in range(count)]
    return Images(array=normalize(np.stack(repeated)), paths=tuple(paths))


def _shipped() -> Path:
    spec = importlib.util.find_spec(SHIPPED_IN)
    if spec is None or spec.origin is None:
        raise SourceError(f"the package {SHIPPED_IN} is missing: install sparsefeat again")
    return Path(spec.origin).parent / "photos"
