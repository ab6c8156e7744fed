"""How RGB pixels are scaled to the network's input; every model file records it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Triple = tuple[float, float, float]

TOLERANCE = 1e-5  # relative to the largest value: float32 rounding of a few operations
CUSTOM = "custom"
KERAS_MODES = ("caffe", "tf", "torch")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """``(pixel / divisor - mean) / std``, computed in float32 for each channel.

    Attributes
    ----------
    mode
        Keras' name (``caffe``, ``tf``, ``torch``), ``0..1``, ``none`` or ``custom``.
    channel_order
        ``RGB`` or ``BGR``: the order of the scaled channels, of `mean` and of `std`.
    """

    mode: str
    channel_order: str = "RGB"
    divisor: float = 1.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def apply(self, pixels: npt.NDArray[Any]) -> Float32:
        """Scale RGB pixels (..., 3), 0 to 255; return float32 of the same shape."""
        ordered = pixels[..., ::-1] if self.channel_order == "BGR" else pixels
        scaled = ordered.astype(np.float32) / np.float32(self.divisor)
        scaled -= np.array(self.mean, np.float32)
        scaled /= np.array(self.std, np.float32)
        return scaled

    @property
    def zero(self) -> Float32:
        """The pixel values that are scaled to 0: float32 (3,), in `channel_order`."""
        return np.array(self.mean, np.float32) * np.float32(self.divisor)

    @property
    def levels(self) -> Float32:
        """Pixel values per unit of the scaled value: float32 (3,), in `channel_order`."""
        return np.array(self.std, np.float32) * np.float32(self.divisor)

    def __str__(self) -> str:
        """Describe the scaling in words.

        >>> str(MODES["0..1"]), str(MODES["tf"])
        ('red, green, blue / 255', 'red, green, blue / 127.5 minus 1')
        """
        order = "blue, green, red" if self.channel_order == "BGR" else "red, green, blue"
        divided = "" if self.divisor == 1 else f" / {self.divisor:g}"
        minus = f" minus {_listed(self.mean)}" if any(self.mean) else ""
        by = "" if set(self.std) == {1} else f", divided by {_listed(self.std)}"
        return f"{order}{divided or ' in 0..255'}{minus}{by}"


def _listed(values: Triple) -> str:
    return ", ".join(dict.fromkeys(f"{value:g}" for value in values))


# The `KERAS_MODES` are those of `keras.applications.imagenet_utils.preprocess_input`.
MODES = {
    one.mode: one
    for one in (
        Scaling(mode="caffe", channel_order="BGR", mean=(103.939, 116.779, 123.68)),
        Scaling(mode="tf", divisor=127.5, mean=(1.0, 1.0, 1.0)),
        Scaling(mode="torch", divisor=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        Scaling(mode="0..1", divisor=255.0),
        Scaling(mode="none"),
    )
}


def from_json(fields: dict[str, Any]) -> Scaling:
    """Make a scaling from the model file's metadata."""
    triples = {name: tuple(fields[name]) for name in ("mean", "std")}
    return Scaling(**fields | triples)


def scale_as_keras(pixels: Float32, scaling: Scaling) -> Float32:
    """Scale float32 pixels (N, H, W, 3), with Keras' function for the modes that it has."""
    import keras

    if scaling.mode not in KERAS_MODES:
        return scaling.apply(pixels)
    scaled: Float32 = keras.applications.imagenet_utils.preprocess_input(
        pixels.copy(), mode=scaling.mode
    )
    return scaled


def measure(function: Callable[[Float32], Float32], height: int, width: int) -> Scaling | None:
    """Determine which scaling a function applies, by calling it on random images.

    Parameters
    ----------
    function
        Takes RGB pixels as float32 (N, height, width, 3), 0 to 255.

    Returns
    -------
    Scaling or None
        None if the function is not a scaling: it does more than multiply each channel by a factor
        and add an offset.
    """
    rng = np.random.default_rng(0)
    # Images of different brightness, to detect functions that depend on an image's statistics.
    images = [
        rng.integers(0, levels, (4, height, width, 3)).astype(np.float32) for levels in (64, 256)
    ]
    scaled = [np.asarray(function(image)) for image in images]
    if any(one.shape != image.shape for one, image in zip(scaled, images, strict=True)):
        return None
    pixels = np.concatenate(images)
    values = np.concatenate(scaled)
    for candidate in (*MODES.values(), *map(_fitted(pixels, values), ("RGB", "BGR"))):
        error = np.abs(candidate.apply(pixels) - values).max()
        if error <= TOLERANCE * np.abs(values).max():
            return candidate
    return None


def _fitted(pixels: Float32, values: Float32) -> Callable[[str], Scaling]:
    """Fit a factor and an offset to each channel."""

    def fit(channel_order: str) -> Scaling:
        ordered = pixels[..., ::-1] if channel_order == "BGR" else pixels
        mean, std = [], []
        for channel in range(3):
            x, y = (one[..., channel].ravel().astype(np.float64) for one in (ordered, values))
            covariance = np.cov(x, y)
            factor = covariance[0, 1] / covariance[0, 0]
            std.append(float(1 / factor) if factor else 1.0)
            mean.append(float(x.mean() - y.mean() * std[-1]))
        return Scaling(
            mode=CUSTOM,
            channel_order=channel_order,
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
        )

    return fit
