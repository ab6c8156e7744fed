"""VGG16's layers with weights, and matching of a file's weights to them by order and shape."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt

from sparsefeat_export.errors import WeightsError
from sparsefeat_export.scaling import Scaling

BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # (convolutions, channels)
DENSE_UNITS = 4096
IMAGENET_CLASSES = 1000
DEFAULT_SIZE = 224  # height and width, in pixels
STRIDE: int = 2 ** len(BLOCKS)  # of the last pool, in pixels

# Activations allowed after a layer, if not only ReLU. Keras allows predictions without softmax.
ACTIVATIONS = {"predictions": (None, "Softmax", "")}

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Which network to export.

    `weights` is a keyword or an absolute path. With `top` None, the top is exported if the weights
    have one. With `scaling` None, the model or the weights decide.
    """

    weights: str
    top: bool | None
    scaling: str | None = None
    channels_divisor: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A layer with weights: its name and the shape of its kernel, (3, 3, in, out) or (in, out)."""

    name: str
    kernel: tuple[int, ...]

    @property
    def bias(self) -> tuple[int]:
        """Shape of the bias, (out,)."""
        return (self.kernel[-1],)


def planned_convolutions(channels_divisor: int = 1) -> list[Plan]:
    """List the 13 convolutions in network order, with channels divided by `channels_divisor`."""
    plans = []
    channels_in = 3
    for block, (count, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            kernel = (3, 3, channels_in, channels // channels_divisor)
            plans.append(Plan(name=f"block{block}_conv{index}", kernel=kernel))
            channels_in = kernel[-1]
    return plans


def planned_dense(
    channels_divisor: int = 1, *, size: int = DEFAULT_SIZE, classes: int = IMAGENET_CLASSES
) -> list[Plan]:
    """List the three dense layers of a VGG16 for images of (size, size) pixels."""
    features = (size // STRIDE) ** 2 * (BLOCKS[-1][1] // channels_divisor)
    units = DENSE_UNITS // channels_divisor
    return [
        Plan(name="fc1", kernel=(features, units)),
        Plan(name="fc2", kernel=(units, units)),
        Plan(name="predictions", kernel=(units, classes)),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A layer of a weights file, whose arrays are read on demand.

    `kernel` and `bias` are shapes in Keras' axis order; `bias` is None if the file has none. `read`
    returns both arrays.
    """

    name: str  # in the file
    kernel: tuple[int, ...]
    bias: tuple[int, ...] | None
    read: Callable[[], tuple[Array, Array]]
    activation: str | None = None  # the operator after it; None if the file doesn't record it


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The weights of a VGG16: its layers in network order, and properties of its top."""

    source: str
    layers: tuple[tuple[Plan, Found], ...]
    top: bool
    size: int
    classes: int
    logits: bool  # whether the top ends without a softmax
    scaling: Scaling | None = None  # that the weights were trained with, None if unknown

    def arrays(self) -> Iterator[tuple[str, Array, Array]]:
        """Yield (layer name, kernel, bias) one layer at a time.

        Raises
        ------
        WeightsError
            An array has another shape than the file's metadata says.
        """
        for planned, found in self.layers:
            kernel, bias = found.read()
            for kind, array, expected in (
                ("kernel", kernel, planned.kernel),
                ("bias", bias, planned.bias),
            ):
                if array.shape != expected:
                    raise WeightsError(
                        f"{self.source}: {planned.name} has a {kind} of shape {array.shape}, "
                        f"expected {expected}"
                    )
            yield planned.name, kernel, bias


def check_finite(name: str, array: Array) -> None:
    """Raise WeightsError, naming the weight, if `array` holds a NaN or an infinity."""
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), array.shape))
        raise WeightsError(
            f"{name} holds {array.size - int(finite.sum())} values that are not finite, the first "
            f"({array[index]}) at {index}: use weights from a run that did not diverge"
        )


def match(
    convolutions: Sequence[Found],
    dense: Sequence[Found],
    *,
    top: bool | None,
    channels_divisor: int = 1,
    source: str,
) -> Weights:
    """Match the layers of a file to VGG16's by their order.

    Parameters
    ----------
    convolutions, dense
        The layers of the file, in network order.
    top
        True requires the dense layers, False ignores them, None uses them if there are any.
    source
        Name of the source, for messages and metadata.

    Raises
    ------
    WeightsError
        A layer is missing, extra or has another shape. The message names it.
    """
    planned = planned_convolutions(channels_divisor)
    _match(convolutions, planned, source)
    size, classes = DEFAULT_SIZE, IMAGENET_CLASSES
    if top is None:
        top = bool(dense)
    if top:
        if not dense:
            raise WeightsError(
                f"{source} has no fc1, fc2 and predictions (only convolutions), so there is no "
                "top to export: leave --top out, or use weights with a top"
            )
        size = _size(dense[0], channels_divisor, source)
        classes = dense[-1].kernel[-1]
        top_layers = planned_dense(channels_divisor, size=size, classes=classes)
        _match(dense, top_layers, source)
        planned = planned + top_layers
    found = [*convolutions, *(dense if top else ())]
    return Weights(
        source=source,
        layers=tuple(zip(planned, found, strict=True)),
        top=top,
        size=size,
        classes=classes,
        logits=top and dense[-1].activation == "",
    )


def _match(found: Sequence[Found], planned: Sequence[Plan], source: str) -> None:
    for one, expected in zip(found, planned, strict=False):
        called = "" if one.name == expected.name else f" (called {one.name!r} there)"
        if one.kernel != expected.kernel:
            raise WeightsError(
                f"{source}: {expected.name}{called} has a kernel of shape {one.kernel}, "
                f"expected {expected.kernel}"
            )
        if one.bias != expected.bias:
            got = "no bias" if one.bias is None else f"a bias of shape {one.bias}"
            raise WeightsError(
                f"{source}: {expected.name}{called} has {got}, expected {expected.bias}"
            )
        if one.activation not in ACTIVATIONS.get(expected.name, (None, "Relu")):
            raise WeightsError(
                f"{source}: {expected.name}{called} is followed by {one.activation or 'nothing'}, "
                f"expected {'Softmax' if expected.name in ACTIVATIONS else 'Relu'}"
            )
    if len(found) < len(planned):
        missing = planned[len(found)]
        raise WeightsError(
            f"{source}: {missing.name} is missing (a kernel of shape {missing.kernel}): found "
            f"{len(found)} layers of its kind, expected {len(planned)}"
        )
    if len(found) > len(planned):
        extra = found[len(planned)]
        raise WeightsError(
            f"{source}: {extra.name!r} with a kernel of shape {extra.kernel} is not a layer of "
            f"VGG16: found {len(found)} layers of its kind, expected {len(planned)}; to export a "
            "model with another top, pass its saved .keras file"
        )


def _size(fc1: Found, channels_divisor: int, source: str) -> int:
    """Compute the image height and width in pixels from the shape of the first dense layer."""
    expected = planned_dense(channels_divisor)[0].kernel
    channels = BLOCKS[-1][1] // channels_divisor
    cells = fc1.kernel[0] // channels
    side: int = isqrt(cells)
    if fc1.kernel[0] != channels * side * side or side == 0 or fc1.kernel[1:] != expected[1:]:
        raise WeightsError(
            f"{source}: fc1 (called {fc1.name!r} there) has a kernel of shape {fc1.kernel}, "
            f"expected {expected}; to export a model with another top, pass its saved .keras "
            "file, or leave the top out with --no-top"
        )
    return side * STRIDE
