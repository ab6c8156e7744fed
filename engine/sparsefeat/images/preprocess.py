"""Scale pixels to the network's input: order of channels, and a factor and an offset for each.

The named scalings are those of ``keras.applications.imagenet_utils.preprocess_input``, and two
others that are common in training.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError

MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean of ImageNet's training images by channel: blue, green, red, in 0..255."""

Triple = tuple[float, float, float]


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """``(pixel / divisor - mean) / std``, computed in float32 for each channel.

    `mode` is Keras' name of the scaling, ``0..1``, ``none``, or ``custom``. `channel_order` is the
    order of the scaled channels, of `mean` and of `std`.

    >>> print(SCALINGS["torch"])
    red, green, blue / 255 minus 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225
    """

    mode: Literal["caffe", "tf", "torch", "0..1", "none", "custom"]
    channel_order: Literal["RGB", "BGR"]
    divisor: float
    mean: Triple
    std: Triple

    def __str__(self) -> str:
        order = "blue, green, red" if self.channel_order == "BGR" else "red, green, blue"
        divided = " in 0..255" if self.divisor == 1 else f" / {self.divisor:g}"
        minus = f" minus {_listed(self.mean)}" if any(self.mean) else ""
        by = "" if set(self.std) == {1} else f", divided by {_listed(self.std)}"
        return f"{order}{divided}{minus}{by}"


def _listed(values: Triple) -> str:
    return ", ".join(dict.fromkeys(f"{value:g}" for value in values))


def _named(
    mode: Literal["caffe", "tf", "torch", "0..1", "none"],
    channel_order: Literal["RGB", "BGR"] = "RGB",
    *,
    divisor: float = 1.0,
    mean: Triple = (0.0, 0.0, 0.0),
    std: Triple = (1.0, 1.0, 1.0),
) -> Scaling:
    return Scaling(mode=mode, channel_order=channel_order, divisor=divisor, mean=mean, std=std)


CAFFE = _named("caffe", "BGR", mean=MEAN_BGR)
SCALINGS: Mapping[str, Scaling] = MappingProxyType(
    {
        each.mode: each
        for each in (
            CAFFE,
            _named("tf", divisor=127.5, mean=(1.0, 1.0, 1.0)),
            _named("torch", divisor=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
            _named("0..1", divisor=255.0),
            _named("none"),
        )
    }
)
"""The named scalings, by `Scaling.mode`."""


def normalize(
    pixels: npt.NDArray[np.uint8],
    scaling: Scaling = CAFFE,
    *,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Scale RGB pixels to a network's input; the result is bit-equal to Keras' `preprocess_input`.

    Parameters
    ----------
    pixels
        uint8 (..., H, W, 3), RGB.
    scaling
        The scaling of the model, `Extractor.scaling`; by default that of Keras' VGG16.
    out
        C-contiguous float32 of the same shape to write to.

    Returns
    -------
    float32 (..., H, W, 3)
        `out`, or a new array. By default BGR, with values from about -124 to 151.

    Raises
    ------
    InputError
        An array has another type, shape or memory layout.

    >>> normalize(np.zeros((1, 1, 3), np.uint8)).tolist()
    [[[-103.93900299072266, -116.77899932861328, -123.68000030517578]]]
    """
    if pixels.dtype != np.uint8 or pixels.ndim < 2 or pixels.shape[-1] != 3:
        raise InputError(
            f"got pixels of {pixels.dtype} {pixels.shape}, expected uint8 (..., W, 3):"
            " decode the image with sparsefeat.images.decode"
        )
    if out is None:
        out = np.empty(pixels.shape, np.float32)
    elif out.dtype != np.float32 or out.shape != pixels.shape or not out.flags.c_contiguous:
        raise InputError(
            f"got out of {out.dtype} {out.shape}, expected C-contiguous float32 {pixels.shape}:"
            " leave it out, or allocate it with numpy.empty"
        )
    # Strided copies that convert to float32, then arithmetic on whole image rows: five times as
    # fast as subtracting three numbers from each pixel, and without temporary arrays.
    for channel in range(3):
        source = channel if scaling.channel_order == "RGB" else 2 - channel
        out[..., channel] = pixels[..., source]
    width = pixels.shape[-2]
    image_rows = out.reshape(math.prod(pixels.shape[:-2]), width * 3)
    if scaling.divisor != 1:
        np.divide(image_rows, np.float32(scaling.divisor), out=image_rows)
    if any(scaling.mean):
        mean = np.tile(np.array(scaling.mean, np.float32), width)
        np.subtract(image_rows, mean, out=image_rows)
    if set(scaling.std) != {1}:
        std = np.tile(np.array(scaling.std, np.float32), width)
        np.divide(image_rows, std, out=image_rows)
    return out


def restore_pixels(images: npt.NDArray[np.floating], scaling: Scaling) -> npt.NDArray[np.float64]:
    """Undo `scaling`: return float64 (..., 3) in 0..255, with channels in the order of `images`."""
    undone: npt.NDArray[np.float64] = (
        images.astype(np.float64) * np.array(scaling.std) + np.array(scaling.mean)
    ) * scaling.divisor
    return undone
