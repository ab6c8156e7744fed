"""Detect from its values whether an array is scaled as a model expects."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.images import CAFFE, MEAN_BGR, SCALINGS, Scaling, restore_pixels

Mistake = Literal[
    "0..255", "0..1", "-1..1", "unit variance", "caffe", "means of RGB", "twice", "not finite"
]

_GOT: dict[Mistake, str] = {
    "0..255": "unscaled pixels from 0 to 255",
    "0..1": "values from 0 to 1: pixels divided by 255",
    "-1..1": "values from -1 to 1: pixels divided by 127.5, minus 1",
    "unit variance": "values with mean 0 and variance 1: pixels / 255 minus means, by deviations",
    "caffe": "pixels minus the means, as for Keras' VGG16",
    "means of RGB": "channels in the order red, green, blue, minus the means in that order",
    "twice": "pixels minus twice the means",
    "not finite": "values that are not finite",
}
_NAMED: dict[str, Mistake] = {
    "none": "0..255",
    "0..1": "0..1",
    "tf": "-1..1",
    "torch": "unit variance",
    "caffe": "caffe",
}

_GIVEN = "sparsefeat.normalize and Keras' preprocess_input give"
_GIVEN_OTHERWISE = "sparsefeat.normalize(pixels, extractor.scaling) gives"

SAMPLED_PIXELS = 1 << 14  # evenly spaced; more pixels would not change the result
MAX_OUTSIDE = 0.01  # largest share of values outside of the range that overshoot explains
MAX_OVERSHOOT = 16.0  # pixel values below 0 or above 255 that bicubic resizing can produce
SMALL_OVERSHOOT = 0.1
_WHOLE = 2e-3  # tolerance for whole numbers; float32 rounding is far below it

_MEAN = np.array(MEAN_BGR)
_TWICE = (_MEAN + _MEAN[::-1], 2 * _MEAN)  # with and without reversing the channels twice


class ScalingWarning(UserWarning):
    """An array does not seem to be scaled as the model expects; its features will be wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingFinding:
    """A mistake in the scaling of an array.

    Attributes
    ----------
    scaling
        The kind of mistake.
    got, expected
        The scaling that was found, and the one that is expected, in words.
    low, high
        The smallest and largest value in the sample; NaN if values are not finite.
    """

    scaling: Mistake
    got: str
    expected: str
    low: float
    high: float

    def __str__(self) -> str:
        seen = "" if math.isnan(self.low) else f" ({self.low:.4g} to {self.high:.4g} seen)"
        return (
            f"images look unlike the model's input: got {self.got}{seen}, expected {self.expected}"
        )


def check_scaling(
    images: npt.NDArray[np.floating], scaling: Scaling = CAFFE
) -> ScalingFinding | None:
    """Detect an array that is scaled wrongly or has values that are not finite.

    If the pixel values are whole numbers, the scaling is recognised reliably, however dark, bright
    or flat an image is. Interpolated pixel values are not whole numbers, and then only values that
    are impossible are detected: for Keras' VGG16, a bright image without mean subtraction is not
    recognised. Channels in RGB order that were scaled as if they were BGR can't be detected.

    Parameters
    ----------
    images
        Float array (N, H, W, 3) or (H, W, 3), meant as the model's input. All values are checked
        for NaN and infinities, and up to 16,384 evenly spaced pixels for their scaling.
    scaling
        The scaling that the model expects, `Extractor.scaling`; by default that of Keras' VGG16.

    Returns
    -------
    ScalingFinding or None
        None if no mistake was found.

    Raises
    ------
    InputError
        `images` is not an array with three channels.

    Examples
    --------
    >>> from sparsefeat import normalize
    >>> pixels = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)
    >>> check_scaling(normalize(pixels)) is None
    True
    >>> check_scaling(pixels.astype(np.float32)).scaling
    '0..255'
    >>> check_scaling(pixels / np.float32(255)).scaling
    '0..1'
    """
    if not isinstance(images, np.ndarray) or images.ndim < 3 or images.shape[-1] != 3:
        got = getattr(images, "shape", type(images).__name__)
        raise InputError(f"got images of {got}, expected an array (N, H, W, 3)")
    values = _sampled(images)
    mistake: Mistake | None
    # min and max are NaN if any value is, and need no temporary array.
    if images.size and not np.isfinite([images.min(), images.max()]).all():
        mistake, values = "not finite", np.array([np.nan])
    elif not len(values):
        return None  # all pixels are 0
    else:
        mistake = _mistake(values, scaling)
    if mistake is None:
        return None
    return ScalingFinding(
        scaling=mistake,
        got=_GOT[mistake],
        expected=f"{scaling}, as {_GIVEN if scaling == CAFFE else _GIVEN_OTHERWISE}",
        low=float(values.min()),
        high=float(values.max()),
    )


def _sampled(images: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Sample pixels, float64 (n, 3), without those that are 0, which may be padding."""
    height, width = images.shape[-3:-1]
    flat = images.reshape(-1, height * width, 3)
    n = len(flat) * height * width
    # An odd step, so that an even width doesn't select the same columns in every row.
    step = max(1, -(-n // SAMPLED_PIXELS)) | 1
    pixels = flat.reshape(-1, 3)[::step].astype(np.float64)
    return pixels[pixels.any(axis=1)]


def _mistake(values: npt.NDArray[np.float64], scaling: Scaling) -> Mistake | None:
    pixels = restore_pixels(values, scaling)
    if _are_pixels(pixels):
        return None
    for mode, other in SCALINGS.items():
        # Values 0 and 1 are whole numbers, but may be black and white divided by 255.
        told = mode != "none" or values.max() > 1
        if told and other != scaling and _are_pixels(restore_pixels(values, other)):
            return _NAMED[mode]
    if scaling == CAFFE:
        if any(_are_pixels(values + means) for means in _TWICE):
            return "twice"
        if _are_pixels(values + _MEAN[::-1]):
            return "means of RGB"
    return _mistake_of_interpolated(values, pixels, scaling)


def _mistake_of_interpolated(
    values: npt.NDArray[np.float64], pixels: npt.NDArray[np.float64], scaling: Scaling
) -> Mistake | None:
    """Detect impossible values among interpolated pixels."""
    low, high = values.min(), values.max()
    levels = max(high, -low) * scaling.divisor * max(map(abs, scaling.std))
    # All values are within one pixel value of the mean: the pixels were divided.
    if levels <= 1 + SMALL_OVERSHOOT:
        if high - low < 0.1:
            return None
        return "0..1" if low >= -SMALL_OVERSHOOT else "-1..1"
    if levels <= 3 and high - low > 1:
        return "unit variance"
    too_bright = np.mean(pixels > 255 + MAX_OVERSHOOT) > MAX_OUTSIDE
    too_dark = np.mean(pixels < -MAX_OVERSHOOT) > MAX_OUTSIDE
    if not too_bright and not too_dark:
        return None
    if scaling == CAFFE:
        return "0..255" if too_bright else "twice"
    if max(high, -low) <= 1 + SMALL_OVERSHOOT:
        return "0..1" if low >= -SMALL_OVERSHOOT else "-1..1"
    if max(high, -low) <= 3:
        return "unit variance"
    return "0..255" if low >= -MAX_OVERSHOOT else "caffe"


def _are_pixels(values: npt.NDArray[np.float64]) -> bool:
    """Return whether 99 % of the values are whole numbers from 0 to 255."""
    whole = np.rint(values)
    fits = (np.abs(values - whole) < _WHOLE) & (whole >= 0) & (whole <= 255)
    return bool(fits.mean() > 0.99)
