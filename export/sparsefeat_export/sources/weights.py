"""VGG16's layers, and weights found in some file that are matched to them by order and shape."""

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

# What may follow a layer, where it isn't a ReLU: Keras can leave the softmax out.
ACTIVATIONS = {"predictions": (None, "Softmax", "")}

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Which network to export.

    `weights` is a name or an absolute path; `top` is None where the weights decide, `scaling`
    where the model does.
    """

    weights: str
    top: bool | None
    scaling: str | None = None
    channels_divisor: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One layer with weights: its name and kernel shape, (3, 3, in, out) or (in, out)."""

    name: str
    kernel: tuple[int, ...]

    @property
    def bias(self) -> tuple[int]:
        """Shape of the bias, (out,)."""
        return (self.kernel[-1],)


def planned_convolutions(channels_divisor: int = 1) -> list[Plan]:
    """List the 13 convolutions in network order, each narrowed by `channels_divisor`."""
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
    """One layer of a weights file, read when asked for and not before.

    `kernel` and `bias` are shapes, in Keras' axis order; `bias` is None where the file has
    none. `read` gives both arrays.
    """

    name: str  # what the file calls it
    kernel: tuple[int, ...]
    bias: tuple[int, ...] | None
    read: Callable[[], tuple[Array, Array]]
    activation: str | None = None  # the operator behind it; None where the file cannot say


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The weights of a VGG16: its layers in network order, and what its top implies."""

    source: str
    layers: tuple[tuple[Plan, Found], ...]
    top: bool
    size: int
    classes: int
    logits: bool  # whether the top ends without a softmax
    scaling: Scaling | None = None  # that the weights were made for, None where nothing says

    def arrays(self) -> Iterator[tuple[str, Array, Array]]:
        """Yield (layer name, kernel, bias) one layer at a time.

        Raises
        ------
        WeightsError
            An array has a shape other than the file announced.
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
    """Match layers found in a file, in their order, to VGG16's.

    Parameters
    ----------
    convolutions, dense
        What the file holds, in network order.
    top
        True to need the dense layers, False to leave them, None to take them if there are any.
    source
        Where the weights are from, for messages and metadata.

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
                "top to export: leave --top out, or take weights that have one"
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
            f"{source}: {missing.name} is missing (a kernel of shape {missing.kernel}): "
            f"layers of its kind: {len(found)}, expected {len(planned)}"
        )
    if len(found) > len(planned):
        extra = found[len(planned)]
        raise WeightsError(
            f"{source}: {extra.name!r} with a kernel of shape {extra.kernel} is not a layer of "
            f"VGG16: layers of its kind: {len(found)}, expected {len(planned)}; "
            "a model with another top exports from its saved .keras file"
        )


def _size(fc1: Found, channels_divisor: int, source: str) -> int:
    """Tell the image size, in pixels of either side, that the first dense layer is for."""
    expected = planned_dense(channels_divisor)[0].kernel
    channels = BLOCKS[-1][1] // channels_divisor
    cells = fc1.kernel[0] // channels
    side: int = isqrt(cells)
    if fc1.kernel[0] != channels * side * side or side == 0 or fc1.kernel[1:] != expected[1:]:
        raise WeightsError(
            f"{source}: fc1 (called {fc1.name!r} there) has a kernel of shape {fc1.kernel}, "
            f"expected {expected}; a model with another top exports from its saved .keras "
            "file, and --no-top leaves the top out"
        )
    return side * STRIDE
