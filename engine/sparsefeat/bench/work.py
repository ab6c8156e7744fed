"""Checks the job of all engines, and prepares their input: arrays or files."""

import importlib.util
import math
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsefeat.bench.engines import Engine
from sparsefeat.errors import InputError, LayerError, ProviderError, SourceError
from sparsefeat.images import (
    CAFFE,
    Decoded,
    ImageInput,
    Preset,
    Scaling,
    Source,
    decode,
    each_image,
    normalize,
    preset,
)
from sparsefeat.model import PRE, ModelFile, Size, check_size, choose_layers
from sparsefeat.system import MAX_BATCH_SIZE, choose_threads, validate_count
from sparsefeat.types import Reject, RejectWarning, reject_message, split_failures

Float32 = NDArray[np.float32]
T = TypeVar("T", bound=ImageInput)
ImageInputs = str | os.PathLike[str] | Iterable[ImageInput | Reject]

# The package that ships sample images. Its folder is looked up without importing it.
SHIPPED_IN = "sparsefeat_export"

# From files, a pass has at least this many files and batches, because a pipeline must fill first.
MIN_FILES = 16
MIN_BATCHES = 4

# All loaders make the same pixels from JPEG files of these modes, but not from CMYK.
MODES = ("RGB", "L")


@dataclass(frozen=True, kw_only=True)
class Job:
    """The job that all engines have: model, layers, input size, batch sizes and threads."""

    file: ModelFile
    int8: ModelFile | None
    layers: tuple[str, ...]
    size: Size
    batch_sizes: tuple[int, ...]
    threads: int

    def options(self, engine: Engine) -> dict[str, Any]:
        """Return the options to build an engine with, in addition to the engine's own.

        Raises
        ------
        ProviderError
            The engine needs an int8 model, and none was given.
        LayerError
            The engine can't return one of the layers.
        """
        file = self.file
        if engine.precision == "int8":
            if self.int8 is None:
                raise ProviderError(
                    f"engine {engine.name} needs an int8 model: make one with sparsefeat quantize, "
                    "and name it with --int8"
                )
            file = self.int8
        common = {"model": str(file.path), "layers": list(self.layers), "threads": self.threads}
        if engine.framework != "tensorflow":
            return common | {"size": list(self.size), "batch_sizes": list(self.batch_sizes)}
        inner = [layer for layer in self.layers if layer.endswith(PRE)]
        if inner:
            raise LayerError(
                f"engine {engine.name} can't return {inner[0]}, because Keras' layers contain "
                "their ReLU: leave the layer or the engine out"
            )
        return common


def make_job(
    model: str | os.PathLike[str],
    int8: str | os.PathLike[str] | None,
    layers: str | Sequence[str],
    size: Size | None,
    batch_sizes: Collection[int],
    threads: int | None,
    rounds: int,
    seconds: float | None,
) -> Job:
    """Check the arguments of `compare`, before any engine is started.

    Raises
    ------
    ModelError, LayerError, InputError
        An argument is invalid.
    """
    sizes = tuple(sorted(set(batch_sizes)))
    validate_count("rounds", rounds)
    for batch_size in sizes or (0,):
        validate_count("batch size", batch_size, MAX_BATCH_SIZE)
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"seconds is {seconds}, expected a finite number greater than 0")
    file = ModelFile.open(model)
    if file.metadata.precision != "fp32":
        raise InputError(
            f"{file.path.name} is an int8 model: give the float32 model that it was made from, "
            "and the int8 model with --int8"
        )
    quantized = None if int8 is None else ModelFile.open(int8)
    if quantized is not None:
        _check_same(file, quantized)
    return Job(
        file=file,
        int8=quantized,
        layers=choose_layers(layers, file.metadata.layers),
        size=check_size(file, size) or file.metadata.preprocessing.size,
        batch_sizes=sizes,
        threads=choose_threads(threads),
    )


def _check_same(file: ModelFile, quantized: ModelFile) -> None:
    if quantized.metadata.precision != "int8":
        raise InputError(
            f"{quantized.path.name} is a {quantized.metadata.precision} model, expected an int8 "
            "one: make it with sparsefeat quantize"
        )
    if quantized.metadata.weights.sha256 != file.metadata.weights.sha256:
        raise InputError(
            f"{quantized.path.name} was not made from {file.path.name}: their weights differ"
        )
    if quantized.metadata.preprocessing.scaling != file.metadata.preprocessing.scaling:
        raise InputError(
            f"{quantized.path.name} was not made from {file.path.name}: their scalings differ"
        )


@dataclass(frozen=True, kw_only=True)
class Images:
    """Preprocessed images, float32 (N, H, W, 3).

    `paths` are the images used, which repeat if there are fewer than N; `own` says whether they
    are the user's rather than those that sparsefeat ships; `failed` is the number of images that
    could not be read because of a failure of the system.
    """

    array: Float32
    paths: tuple[str, ...]
    own: bool
    failed: int


@dataclass(frozen=True, kw_only=True)
class Files:
    """JPEG files: `files` to open, and their `paths` for display; other fields as in `Images`."""

    files: tuple[str, ...]
    paths: tuple[str, ...]
    own: bool
    failed: int

    def repeated(self, count: int) -> list[str]:
        """Return `count` files to open, which repeat if there are fewer."""
        return [self.files[index % len(self.files)] for index in range(count)]


def load_images(
    images: ImageInputs,
    count: int,
    *,
    size: tuple[int, int],
    preprocess: str | Preset = "keras",
    scaling: Scaling = CAFFE,
) -> Images:
    """Decode the first `count` images.

    Parameters
    ----------
    images
        As `Extractor.extract` takes them; an empty sequence means the ten images that sparsefeat
        ships.
    count
        The number of arrays to make.

    Raises
    ------
    SourceError
        No image can be read.

    Warns
    -----
    RejectWarning
        Some images can't be read; others were used instead.
    """
    pixels, paths = [], []
    rejects: list[Reject] = []
    for _, decoded in _decoded(_each_input(images), preset(preprocess), size, rejects):
        pixels.append(decoded.pixels)
        paths.append(decoded.row.path)
        if len(pixels) == count:
            break
    _note(paths, rejects, "image")
    repeated = [pixels[index % len(pixels)] for index in range(count)]
    array = normalize(np.stack(repeated), scaling)
    failed = len(split_failures(rejects)[1])
    return Images(array=array, paths=tuple(paths), own=_own(images), failed=failed)


def find_files(images: ImageInputs, count: int, *, size: tuple[int, int]) -> Files:
    """Find the first `count` JPEG files; other formats and CMYK files are skipped.

    Parameters
    ----------
    images
        As `load_images` takes them, but only files.
    count
        The number of files to find at most.
    size
        (height, width): each file is decoded to this size, to check that it can be read.

    Raises
    ------
    SourceError
        There is no JPEG file that can be read.
    InputError
        An image isn't a file.

    Warns
    -----
    RejectWarning
        Some files can't be read; others were used instead.
    """
    files, paths = [], []
    rejects: list[Reject] = []
    named = map(_named, _each_input(images))
    readable: Iterator[tuple[Source | str, Decoded]]
    readable = _decoded(named, preset("keras"), size, rejects)
    for image, decoded in readable:
        if isinstance(image, Source) and not image.is_file:
            continue  # engines open files by name
        file = image.file if isinstance(image, Source) else image
        if decoded.row.format == "JPEG" and _mode(file) in MODES:
            files.append(file)
            paths.append(decoded.row.path)
        if len(files) == count:
            break
    _note(paths, rejects, "JPEG file in colour or grey")
    failed = len(split_failures(rejects)[1])
    return Files(files=tuple(files), paths=tuple(paths), own=_own(images), failed=failed)


def _decoded(
    images: Iterable[T | Reject], chosen: Preset, size: tuple[int, int], rejects: list[Reject]
) -> Iterator[tuple[T, Decoded]]:
    """Decode one image after the other; append those that can't be read to `rejects`."""
    for image in images:
        decoded = image if isinstance(image, Reject) else decode(image, chosen, size)
        if isinstance(decoded, Reject):
            rejects.append(decoded)
        else:
            yield image, decoded  # type: ignore[misc]  # a Reject doesn't get here


def _note(paths: Sequence[str], rejects: Sequence[Reject], what: str) -> None:
    """Raise `SourceError` if nothing was found; warn of what could not be read."""
    if not paths:
        raise SourceError(
            f"found no {what} that can be read: name other images, or none to use those that "
            "sparsefeat ships"
        )
    if rejects:
        warnings.warn(reject_message(rejects), RejectWarning, stacklevel=3)


def _named(image: ImageInput | Reject) -> Source | Reject | str:
    if isinstance(image, Source | Reject):
        return image
    if isinstance(image, str | os.PathLike):
        return str(Path(image).absolute())
    raise InputError(
        f"got an image of type {type(image).__name__}, expected the path of a JPEG file"
    )


def pass_length(batch_size: int) -> int:
    """Return the number of files of a pass: whole batches, and enough of them.

    Examples
    --------
    >>> [pass_length(size) for size in (1, 3, 8)]
    [16, 18, 32]
    """
    return batch_size * max(MIN_BATCHES, -(-MIN_FILES // batch_size))


def _each_input(images: ImageInputs) -> Iterator[ImageInput | Reject]:
    return each_image(images if _own(images) else _shipped())


def _own(images: ImageInputs) -> bool:
    return not isinstance(images, Sized) or len(images) > 0


def _mode(file: str) -> str:
    with Image.open(file) as image:
        return image.mode


def _shipped() -> Path:
    spec = importlib.util.find_spec(SHIPPED_IN)
    if spec is None or spec.origin is None:
        raise SourceError(f"the package {SHIPPED_IN} is missing: install sparsefeat again")
    return Path(spec.origin).parent / "photos"
