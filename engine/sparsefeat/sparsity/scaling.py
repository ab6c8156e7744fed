"""Whether an array was preprocessed as VGG16 expects, told by its values."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.pictures.preprocess import MEAN_BGR

Scaling = Literal["0..255", "0..1", "-1..1", "unit variance", "means of RGB", "twice"]

EXPECTED = (
    "blue, green, red in 0..255 less 103.939, 116.779, 123.68: from about -124 to 151, as "
    "sparsefeat.normalize and Keras' preprocess_input give"
)

_GOT = {
    "0..255": "pixels from 0 to 255, from which no means were subtracted",
    "0..1": "values from 0 to 1: pixels divided by 255",
    "-1..1": "values from -1 to 1: pixels divided by 127.5, less 1",
    "unit variance": "small values around 0: pixels divided by 255, less a mean, by a deviation",
    "means of RGB": "channels in the order red, green, blue, less the means in that order",
    "twice": "values from which the means were subtracted twice",
}

SAMPLED_PIXELS = 1 << 14  # spread over the array: more would not tell more
MAX_OUTSIDE = 0.01  # share of values beyond what overshoot explains
MAX_OVERSHOOT = 16.0  # levels beyond black or white that bicubic resizing makes here and there
SMALL_OVERSHOOT = 0.1
_WHOLE = 2e-3  # float32 rounds a pixel less a mean by up to 1e-5, and half of it twice

_MEAN = np.array(MEAN_BGR)
_TWICE = (_MEAN + _MEAN[::-1], 2 * _MEAN)  # with the channels turned round again, and without


class ScalingWarning(UserWarning):
    """An array doesn't look preprocessed as VGG16 expects: its features will be wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingFinding:
    """What is wrong with an array.

    `scaling` says which mistake it is; `got` says it in words, `expected` what is right; `low` and
    `high` are the least and the greatest value seen.
    """

    scaling: Scaling
    got: str
    expected: str
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"images look unlike VGG16's input: got {self.got} ({self.low:.4g} to {self.high:.4g} "
            f"seen), expected {self.expected}"
        )


def check_scaling(images: npt.NDArray[np.floating]) -> ScalingFinding | None:
    """Tell a wrongly scaled array from a right one.

    Values that are whole pixels less the means are right, however dark, bright or flat the picture
    is. Where pixels were interpolated they aren't whole, and only what can't be right is found:
    a bright picture then passes even if nothing was subtracted from it. Channels that lie in the
    order red, green, blue, less the means of blue, green, red, can't be told from right ones.

    Parameters
    ----------
    images
        Floats (N, H, W, 3) or (H, W, 3), meant as VGG16's input. Up to 16,384 pixels are looked
        at, spread evenly.

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
    pixels = _sampled(images)
    if not len(pixels) or not np.isfinite(pixels).all():
        return None  # nothing to go by
    scaling = _scaling(pixels)
    if scaling is None:
        return None
    return ScalingFinding(
        scaling=scaling,
        got=_GOT[scaling],
        expected=EXPECTED,
        low=float(pixels.min()),
        high=float(pixels.max()),
    )


def _sampled(images: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Take some pixels, float64 (n, 3), without those that are 0: padding."""
    height, width = images.shape[-3:-1]
    pictures = images.reshape(-1, height * width, 3)
    n = len(pictures) * height * width
    # A step that shares no factor with the width meets all columns.
    step = max(1, -(-n // SAMPLED_PIXELS)) | 1
    pixels = pictures.reshape(-1, 3)[::step].astype(np.float64)
    return pixels[pixels.any(axis=1)]


def _scaling(pixels: npt.NDArray[np.float64]) -> Scaling | None:
    if _are_pixels(pixels + _MEAN):
        return None
    low, high = pixels.min(), pixels.max()
    if _are_pixels(pixels) and high > 1:
        return "0..255"
    if any(_are_pixels(pixels + means) for means in _TWICE):
        return "twice"
    if _are_pixels(pixels + _MEAN[::-1]):
        return "means of RGB"
    # Less than a level from the mean everywhere: no photograph, unless it was divided.
    if max(high, -low) <= 1 + SMALL_OVERSHOOT:
        if high - low < 0.1:
            return None
        return "0..1" if low >= -SMALL_OVERSHOOT else "-1..1"
    if max(high, -low) <= 3 and high - low > 1:
        return "unit variance"
    # Of pixels that were interpolated, what no subtraction of means explains.
    if np.mean(pixels > 255 - _MEAN + MAX_OVERSHOOT) > MAX_OUTSIDE:
        return "0..255"
    if np.mean(pixels < -_MEAN - MAX_OVERSHOOT) > MAX_OUTSIDE:
        return "twice"
    return None


def _are_pixels(values: npt.NDArray[np.float64]) -> bool:
    """Whether values are whole numbers from 0 to 255, but for a few."""
    whole = np.rint(values)
    fits = (np.abs(values - whole) < _WHOLE) & (whole >= 0) & (whole <= 255)
    return bool(fits.mean() > 0.99)
