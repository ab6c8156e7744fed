"""The ready arrays that every engine is given."""

import importlib.util
import os
import warnings
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import SourceError
from sparsefeat.pictures import Preset, each_picture, preset
from sparsefeat.pictures.decode import Picture, decode
from sparsefeat.pictures.preprocess import normalize
from sparsefeat.records import Reject, RejectWarning, reject_message
from sparsefeat.units import counted

Float32 = NDArray[np.float32]
Pictures = str | os.PathLike[str] | Iterable[Picture | Reject]

# In the package that makes models, which isn't imported for them.
SHIPPED_IN = "sparsefeat_export"


@dataclass(frozen=True, kw_only=True)
class Images:
    """Preprocessed pictures: float32 (N, H, W, 3), of `paths`, over and over if they are fewer.

    `own` says whether they are the user's, not those that sparsefeat ships.
    """

    array: Float32
    paths: tuple[str, ...]
    own: bool


def load_images(
    photos: Pictures, count: int, *, size: tuple[int, int], preprocess: str | Preset = "keras"
) -> Images:
    """Decode as many photographs as there are needed, in the order of their names.

    Parameters
    ----------
    photos
        As `Extractor.extract` takes them; nothing means the ten photographs that sparsefeat
        ships.
    count
        How many arrays to make.

    Raises
    ------
    SourceError
        None of them can be read.

    Warns
    -----
    RejectWarning
        Some of those needed can't be read, and others were taken.
    """
    chosen = preset(preprocess)
    pixels, paths = [], []
    rejects: list[Reject] = []
    own = not isinstance(photos, Sized) or len(photos) > 0
    for picture in each_picture(photos if own else _shipped()):
        decoded = picture if isinstance(picture, Reject) else decode(picture, chosen, size)
        if isinstance(decoded, Reject):
            rejects.append(decoded)
            continue
        pixels.append(decoded.pixels)
        paths.append(decoded.row.path)
        if len(pixels) == count:
            break
    if not pixels:
        raise SourceError(
            f"none of {counted(len(rejects), 'picture')} can be read; name others, or none to use "
            "those that sparsefeat ships"
        )
    if rejects:
        warnings.warn(reject_message(rejects), RejectWarning, stacklevel=2)
    repeated = [pixels[index % len(pixels)] for index in range(count)]
    return Images(array=normalize(np.stack(repeated)), paths=tuple(paths), own=own)


def _shipped() -> Path:
    spec = importlib.util.find_spec(SHIPPED_IN)
    if spec is None or spec.origin is None:
        raise SourceError(f"the package {SHIPPED_IN} is missing: install sparsefeat again")
    return Path(spec.origin).parent / "photos"
