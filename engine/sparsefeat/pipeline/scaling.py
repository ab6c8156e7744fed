"""Whether an array is scaled as a model expects its pixels, told by its values."""

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
    "0..255": "pixels from 0 to 255, as they are",
    "0..1": "values from 0 to 1: pixels divided by 255",
    "-1..1": "values from -1 to 1: pixels divided by 127.5, less 1",
    "unit variance": "small values around 0: pixels divided by 255, less a mean, by a deviation",
    "caffe": "pixels from which means were subtracted, as for Keras' VGG16",
    "means of RGB": "channels in the order red, green, blue, less the means in that order",
    "twice": "values from which the means were subtracted twice",
    "not finite": "values that are no finite numbers",
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

SAMPLED_PIXELS = 1 << 14  # spread over the array: more would not tell more
MAX_OUTSIDE = 0.01  # share of values beyond what overshoot explains
MAX_OVERSHOOT = 16.0  # levels beyond black or white that bicubic resizing makes here and there
SMALL_OVERSHOOT = 0.1
_WHOLE = 2e-3  # float32 rounds a pixel less a mean by up to 1e-5, and half of it twice

_MEAN = np.array(MEAN_BGR)
_TWICE = (_MEAN + _MEAN[::-1], 2 * _MEAN)  # with the channels turned round again, and without


class ScalingWarning(UserWarning):
    """An array doesn't look scaled as the model expects: its features will be wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingFinding:
    """What is wrong with an array.

    `scaling` says which mistake it is; `got` says it in words, `expected` what is right; `low` and
    `high` are the least and the greatest value seen, NaN where some are not finite.
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
    """Tell a wrongly scaled array, or one with NaN or infinities, from a right one.

    Values that are whole pixels, scaled, are right, however dark, bright or flat the image is.
    Where pixels were interpolated they aren't whole, and only what can't be right is found: for
    Keras' VGG16, a bright image then passes even if nothing was subtracted from it. Channels
    that lie in the order red, green, blue, but scaled as blue, green, red, can't be told from right
    ones.

    Parameters
    ----------
    images
        Floats (N, H, W, 3) or (H, W, 3), meant as the model's input. All are looked at
        for NaN and infinities, and up to 16,384 pixels, spread evenly, for their scaling.
    scaling
        What the model expects, `Extractor.scaling`; by default as Keras' VGG16.

    Returns
    -------
    ScalingFinding, or None where nothing looks wrong.

    Raises
    ------
    InputError
        It isn't an array of three channels.

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
    # Both are NaN if any value is; and no array of flags is made, a quarter of the images' size.
    if images.size and not np.isfinite([images.min(), images.max()]).all():
        mistake, values = "not finite", np.array([np.nan])
    elif not len(values):
        return None  # nothing to go by
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
    """Take some pixels, float64 (n, 3), without those that are 0: padding."""
    height, width = images.shape[-3:-1]
    flat = images.reshape(-1, height * width, 3)
    n = len(flat) * height * width
    # A step that shares no factor with the width meets all columns.
    step = max(1, -(-n // SAMPLED_PIXELS)) | 1
    pixels = flat.reshape(-1, 3)[::step].astype(np.float64)
    return pixels[pixels.any(axis=1)]


def _mistake(values: npt.NDArray[np.float64], scaling: Scaling) -> Mistake | None:
    pixels = restore_pixels(values, scaling)
    if _are_pixels(pixels):
        return None
    for mode, other in SCALINGS.items():
        # Black and white divided by 255, 0 and 1, are whole numbers too.
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
    """Find what can't be right of pixels that aren't whole."""
    low, high = values.min(), values.max()
    levels = max(high, -low) * scaling.divisor * max(map(abs, scaling.std))
    # Less than a level from the mean everywhere: no image, unless it was divided.
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
    """Whether values are whole numbers from 0 to 255, but for a few."""
    whole = np.rint(values)
    fits = (np.abs(values - whole) < _WHOLE) & (whole >= 0) & (whole <= 255)
    return bool(fits.mean() > 0.99)
