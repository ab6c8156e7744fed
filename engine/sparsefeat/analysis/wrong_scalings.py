"""Measures how wrongly scaled input changes the zeros."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import SourceError
from sparsefeat.images import (
    CAFFE,
    MEAN_BGR,
    SCALINGS,
    ImageInput,
    Scaling,
    decode,
    each_image,
    normalize,
)
from sparsefeat.pipeline import Extractor, check_scaling
from sparsefeat.types import Reject, RejectWarning, reject_message, split_failures

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

RIGHT = "as expected"
BATCH = 4

_MEAN = np.array(MEAN_BGR, np.float32)


def _floats(pixels: UInt8) -> Float32:
    return pixels.astype(np.float32)


def scalings(right: Scaling) -> dict[str, Callable[[UInt8], Float32]]:
    """Return the scalings to compare, by name; the right one is first.

    The others are scalings that people use by mistake. Each is a function from uint8
    (N, H, W, 3), channels in the order RGB, to the network's float32 (N, H, W, 3).

    >>> list(scalings(CAFFE))[:2]
    ['as expected', 'RGB minus means of BGR']
    """
    usual: dict[str, Scaling | Callable[[UInt8], Float32]] = {
        "BGR minus means of BGR": CAFFE,
        "RGB minus means of BGR": lambda pixels: _floats(pixels) - _MEAN,
        "RGB minus means of RGB": lambda pixels: _floats(pixels) - _MEAN[::-1],
        "BGR, no means": lambda pixels: _floats(pixels[..., ::-1]),
        "RGB in 0..255": SCALINGS["none"],
        "RGB in 0..1": SCALINGS["0..1"],
        "RGB in -1..1": SCALINGS["tf"],
        "as for torchvision": SCALINGS["torch"],
        "preprocessed twice": lambda pixels: _again(normalize(pixels, right), right),
    }
    if right == SCALINGS["none"]:
        del usual["preprocessed twice"]  # it equals preprocessing once
    compared: dict[str, Callable[[UInt8], Float32]] = {RIGHT: _function_of(right)}
    for name, scaling in usual.items():
        if scaling != right:
            compared[name] = _function_of(scaling) if isinstance(scaling, Scaling) else scaling
    return compared


def _function_of(scaling: Scaling) -> Callable[[UInt8], Float32]:
    return lambda pixels: normalize(pixels, scaling)


def _again(images: Float32, scaling: Scaling) -> Float32:
    """Scale images that were already scaled, as a user does by mistake."""
    ordered = images[..., ::-1] if scaling.channel_order == "BGR" else images
    again = ordered / np.float32(scaling.divisor)
    again -= np.array(scaling.mean, np.float32)
    again /= np.array(scaling.std, np.float32)
    return again


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingZeros:
    """The zeros that one scaling of the input leads to.

    Attributes
    ----------
    scaling
        The scaling's name in `scalings`.
    shares
        The share of zeros in each layer, over all images.
    relative_errors
        The relative L2 error of each layer against the right scaling.
    noticed
        The scaling that `check_scaling` takes the input for; empty if it finds nothing wrong.
    n_images
        Number of images that were read.
    n_rejected, n_failed
        Number of images that were rejected, and of images that could not be read because of a
        failure of the system.
    """

    scaling: str
    shares: dict[str, float]
    relative_errors: dict[str, float]
    noticed: str
    n_images: int
    n_rejected: int
    n_failed: int


def compare_scalings(
    extractor: Extractor,
    inputs: str | os.PathLike[str] | Iterable[ImageInput | Reject],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[ScalingZeros]:
    """Run the same images through the network with the right scaling and with wrong ones.

    Parameters
    ----------
    extractor
        Runs the network. Its layers are compared.
    inputs
        The images, as `Extractor.extract` takes them. Those that can't be read are skipped.
    progress
        Called after each batch with the number of images done.

    Returns
    -------
    list
        A `ScalingZeros` for each of the model's `scalings`, in their order.

    Raises
    ------
    SourceError
        None of the images could be read.

    Warns
    -----
    RejectWarning
        Some of the images could not be read.
    """
    rejects: list[Reject] = []
    compared = scalings(extractor.scaling)
    tallies = {name: _Tally(list(extractor.layers), extractor.scaling) for name in compared}
    done = 0

    for pixels in _batches(extractor, each_image(inputs), rejects):
        right: dict[str, Float32] = {}
        for name, scale in compared.items():
            images = np.ascontiguousarray(scale(pixels))
            outputs = extractor.run(images, check=False)
            right = right or outputs
            tallies[name].add(images, outputs, right)
        done += len(pixels)
        if progress is not None:
            progress(done)
    if not done:
        why = f" ({reject_message(rejects)})" if rejects else ""
        raise SourceError(f"no image could be read{why}: name other images")
    if rejects:
        warnings.warn(reject_message(rejects), RejectWarning, stacklevel=2)
    rejected, failed = split_failures(rejects)
    return [tally.result(name, len(rejected), len(failed)) for name, tally in tallies.items()]


class _Tally:
    def __init__(self, layers: list[str], right: Scaling) -> None:
        self._right = right
        self._zeros, self._elements = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0)
        self._squares, self._errors = dict.fromkeys(layers, 0.0), dict.fromkeys(layers, 0.0)
        self._noticed: list[str] = []
        self._n_images = 0

    def add(self, images: Float32, outputs: dict[str, Float32], right: dict[str, Float32]) -> None:
        self._n_images += len(images)
        finding = check_scaling(images, self._right)
        if finding is not None and finding.scaling not in self._noticed:
            self._noticed.append(finding.scaling)
        for layer, x in outputs.items():
            expected = right[layer].astype(np.float64)
            self._zeros[layer] += int((x == 0).sum())
            self._elements[layer] += x.size
            self._squares[layer] += float(np.square(expected).sum())
            self._errors[layer] += float(np.square(x - expected).sum())

    def result(self, scaling: str, n_rejected: int, n_failed: int) -> ScalingZeros:
        return ScalingZeros(
            scaling=scaling,
            shares={name: self._zeros[name] / self._elements[name] for name in self._zeros},
            relative_errors={
                name: float(np.sqrt(self._errors[name] / self._squares[name]))
                if self._squares[name]
                else 0.0
                for name in self._zeros
            },
            noticed=", ".join(self._noticed),
            n_images=self._n_images,
            n_rejected=n_rejected,
            n_failed=n_failed,
        )


def _batches(
    extractor: Extractor,
    inputs: Iterable[ImageInput | Reject],
    rejects: list[Reject],
) -> Iterator[UInt8]:
    """Decode a few images at a time; append those that can't be read to `rejects`."""

    def decoded() -> Iterator[UInt8]:
        chosen = extractor.preset, extractor.image_size
        for image in inputs:
            found = image if isinstance(image, Reject) else decode(image, *chosen)
            if isinstance(found, Reject):
                rejects.append(found)
            else:
                yield found.pixels

    pixels = decoded()
    while batch := list(islice(pixels, BATCH)):
        yield np.stack(batch)
