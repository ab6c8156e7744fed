"""What every engine is given: ready arrays, or files."""

import importlib.util
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsefeat.errors import InputError, SourceError
from sparsefeat.images import (
    CAFFE,
    Decoded,
    Picture,
    Preset,
    Scaling,
    Source,
    decode,
    each_picture,
    normalize,
    preset,
)
from sparsefeat.types import Reject, RejectWarning, failures_apart, reject_message

Float32 = NDArray[np.float32]
T = TypeVar("T", bound=Picture)
Pictures = str | os.PathLike[str] | Iterable[Picture | Reject]

# In the package that makes models, which isn't imported for them.
SHIPPED_IN = "sparsefeat_export"

# From files, a turn goes through so many of them at least, and in so many batches: a pipeline has
# to fill before it runs.
MIN_FILES = 16
MIN_BATCHES = 4

# Of JPEG files all loaders make the same pixels if these are their modes, and no CMYK.
MODES = ("RGB", "L")


@dataclass(frozen=True, kw_only=True)
class Images:
    """Preprocessed pictures: float32 (N, H, W, 3), of `paths`, over and over if they are fewer.

    `own` says whether they are the user's, not those that sparsefeat ships; `failed` how many of
    those needed could not be read this time, for a cause that lies in the system.
    """

    array: Float32
    paths: tuple[str, ...]
    own: bool
    failed: int


@dataclass(frozen=True, kw_only=True)
class Files:
    """JPEG files: `files` to open, and their `paths` as they are told; the rest as of `Images`."""

    files: tuple[str, ...]
    paths: tuple[str, ...]
    own: bool
    failed: int

    def repeated(self, count: int) -> list[str]:
        """Give so many files to open, over and over if they are fewer."""
        return [self.files[index % len(self.files)] for index in range(count)]


def load_images(
    photos: Pictures,
    count: int,
    *,
    size: tuple[int, int],
    preprocess: str | Preset = "keras",
    scaling: Scaling = CAFFE,
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
    pixels, paths = [], []
    rejects: list[Reject] = []
    for _, decoded in _decoded(_pictures(photos), preset(preprocess), size, rejects):
        pixels.append(decoded.pixels)
        paths.append(decoded.row.path)
        if len(pixels) == count:
            break
    _note(paths, rejects, "image")
    repeated = [pixels[index % len(pixels)] for index in range(count)]
    array = normalize(np.stack(repeated), scaling)
    failed = len(failures_apart(rejects)[1])
    return Images(array=array, paths=tuple(paths), own=_own(photos), failed=failed)


def find_files(photos: Pictures, count: int, *, size: tuple[int, int]) -> Files:
    """Find as many JPEG files as there are needed, in the order of their names.

    Files of other formats are passed over, and JPEG files of four channels.

    Parameters
    ----------
    photos
        As `load_images` takes them, but files alone.
    count
        How many files to find at most.
    size
        (height, width) to decode them to, to see that they can be.

    Raises
    ------
    SourceError
        There is none.
    InputError
        A photograph is no file.

    Warns
    -----
    RejectWarning
        Some of those needed can't be read, and others were taken.
    """
    files, paths = [], []
    rejects: list[Reject] = []
    named = map(_named, _pictures(photos))
    readable: Iterator[tuple[Source | str, Decoded]]
    readable = _decoded(named, preset("keras"), size, rejects)
    for picture, decoded in readable:
        file = picture.file if isinstance(picture, Source) else picture
        if decoded.row.format == "JPEG" and _mode(file) in MODES:
            files.append(file)
            paths.append(decoded.row.path)
        if len(files) == count:
            break
    _note(paths, rejects, "JPEG file in colour or grey")
    failed = len(failures_apart(rejects)[1])
    return Files(files=tuple(files), paths=tuple(paths), own=_own(photos), failed=failed)


def _decoded(
    pictures: Iterable[T | Reject], chosen: Preset, size: tuple[int, int], rejects: list[Reject]
) -> Iterator[tuple[T, Decoded]]:
    """Decode one picture after another; those that can't be read are appended to `rejects`."""
    for picture in pictures:
        decoded = picture if isinstance(picture, Reject) else decode(picture, chosen, size)
        if isinstance(decoded, Reject):
            rejects.append(decoded)
        else:
            yield picture, decoded  # type: ignore[misc]  # a Reject went the other way


def _note(paths: Sequence[str], rejects: Sequence[Reject], what: str) -> None:
    """Raise `SourceError` if nothing was found, and warn of what could not be read."""
    if not paths:
        raise SourceError(
            f"there is no {what} that can be read; name others, or none to use those that "
            "sparsefeat ships"
        )
    if rejects:
        warnings.warn(reject_message(rejects), RejectWarning, stacklevel=3)


def _named(picture: Picture | Reject) -> Source | Reject | str:
    if isinstance(picture, Source | Reject):
        return picture
    if isinstance(picture, str | os.PathLike):
        return str(Path(picture).absolute())
    raise InputError(
        f"got a {type(picture).__name__} as a photograph, expected the path of a JPEG file"
    )


def pass_length(batch_size: int) -> int:
    """Say how many files a turn goes through: whole batches, and enough of them.

    Examples
    --------
    >>> [pass_length(size) for size in (1, 3, 8)]
    [16, 18, 32]
    """
    return batch_size * max(MIN_BATCHES, -(-MIN_FILES // batch_size))


def _pictures(photos: Pictures) -> Iterator[Picture | Reject]:
    return each_picture(photos if _own(photos) else _shipped())


def _own(photos: Pictures) -> bool:
    return not isinstance(photos, Sized) or len(photos) > 0


def _mode(file: str) -> str:
    with Image.open(file) as image:
        return image.mode


def _shipped() -> Path:
    spec = importlib.util.find_spec(SHIPPED_IN)
    if spec is None or spec.origin is None:
        raise SourceError(f"the package {SHIPPED_IN} is missing: install sparsefeat again")
    return Path(spec.origin).parent / "photos"
