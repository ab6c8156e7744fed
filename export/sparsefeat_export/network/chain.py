"""Check that a Keras model is a chain of layers that starts with VGG16's convolutions and pools."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sparsefeat_export.errors import WeightsError
from sparsefeat_export.sources import BLOCKS, planned_convolutions

NAME = re.compile(r"[A-Za-z0-9_-]+")  # layer names that a store allows
N_BASE_LAYERS = sum(count + 1 for count, _ in BLOCKS)  # including the pools


def open_operations(model: Any) -> Iterator[Any]:
    """Yield the layers and operations of `model` in order, including those of nested models."""
    import keras

    for one in getattr(model, "operations", model.layers):
        if isinstance(one, keras.Model):
            yield from open_operations(one)
        elif not isinstance(one, keras.layers.InputLayer):
            yield one


def split_front(operations: Sequence[Any], source: str) -> tuple[list[Any], list[Any]]:
    """Split operations into those before the first convolution, and the layers from it on.

    Raises
    ------
    WeightsError
        An operation from the first convolution on is not a layer.
    """
    import keras

    convolutions = (n for n, one in enumerate(operations) if isinstance(one, keras.layers.Conv2D))
    first = next(convolutions, 0)
    for one in operations[first:]:
        if not isinstance(one, keras.layers.Layer):
            raise WeightsError(
                f"{source}: {one.name!r} is a {type(one).__name__} operation, not a layer, "
                "expected a chain of layers"
            )
    return list(operations[:first]), list(operations[first:])


@contextmanager
def recorded(operations: Sequence[Any]) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Record the input and output of each operation while a model that contains it runs.

    The model must run eagerly. The yielded dict is filled with (input, output) by operation name.
    """
    seen: dict[str, tuple[Any, Any]] = {}

    def recording(one: Any) -> Callable[..., Any]:
        call = one.call

        def recorded_call(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            seen[one.name] = (args[0] if args else None, output)
            return output

        return recorded_call

    for one in operations:
        one.call = recording(one)
    try:
        yield seen
    finally:
        for one in operations:
            del one.call


def connect(layers: list[Any], images: Any, source: str) -> dict[str, Any]:
    """Call the layers one after the other on `images`; return the output of each by name.

    Raises
    ------
    WeightsError
        A layer can't be called with the output of the one before it.
    """
    outputs: dict[str, Any] = {}
    tensor = images
    for layer in layers:
        try:
            tensor = outputs[layer.name] = layer(tensor)
        except Exception as exc:  # a layer with two inputs can raise anything
            raise WeightsError(
                f"{source}: layer {layer.name!r} does not take just the output of the layer before "
                "it, expected a chain of layers"
            ) from exc
    return outputs


def check_base(layers: list[Any], channels_divisor: int, source: str) -> None:
    """Raise WeightsError, naming the layer, unless `layers` start with VGG16's 18 layers."""
    import keras

    for index, (name, kernel) in enumerate(_expected(channels_divisor)):
        if index == len(layers):
            raise WeightsError(f"{source}: {name} is missing, the model ends before it")
        layer = layers[index]
        kind, more = keras.layers.Conv2D, f" with a kernel of {kernel}"
        if kernel is None:
            kind, more = keras.layers.MaxPooling2D, ""
        if not isinstance(layer, kind):
            raise WeightsError(
                f"{source}: layer {layer.name!r} is a {type(layer).__name__}, expected VGG16's "
                f"{name}, a {kind.__name__}{more}"
            )
        if not layer.built:
            raise WeightsError(
                f"{source}: layer {layer.name!r} has no weights yet: call the model on an image "
                "before you save it"
            )
        if different := list(_differences(layer, kernel)):
            raise WeightsError(
                f"{source}: layer {layer.name!r} is not VGG16's {name}: {'; '.join(different)}"
            )


def check_usable(layers: list[Any], source: str) -> None:
    """Raise WeightsError unless names are unique and storable, and layers are float32 and NHWC."""
    seen = {"images"}
    for layer in layers:
        if layer.name in seen:
            raise WeightsError(
                f"{source}: two layers are called {layer.name!r}, expected different names, which "
                "become the names of the outputs: rename one"
            )
        seen.add(layer.name)
        if not NAME.fullmatch(layer.name):
            raise WeightsError(
                f"{source}: layer {layer.name!r} has a name that no store can hold, expected only "
                "ASCII letters, digits, _ and -: rename it (layer.name = ...)"
            )
        dtypes = {layer.compute_dtype, *(weight.dtype for weight in layer.weights)}
        if dtypes != {"float32"}:
            raise WeightsError(
                f"{source}: layer {layer.name!r} holds or computes in "
                f"{', '.join(sorted(dtypes - {'float32'}))}, expected float32"
            )
        if getattr(layer, "data_format", None) == "channels_first":
            raise WeightsError(
                f"{source}: layer {layer.name!r} is in channels_first format, expected "
                "channels_last"
            )


def _expected(channels_divisor: int) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    planned = iter(planned_convolutions(channels_divisor))
    for block, (count, _) in enumerate(BLOCKS, start=1):
        for _ in range(count):
            one = next(planned)
            yield one.name, one.kernel
        yield f"block{block}_pool", None


def _differences(layer: Any, kernel: tuple[int, ...] | None) -> Iterator[str]:
    """Yield how a convolution or pool differs from VGG16's."""
    import keras

    if kernel is None:
        found: dict[str, tuple[Any, Any]] = {
            "pool size": (tuple(layer.pool_size), (2, 2)),
            "strides": (tuple(layer.strides), (2, 2)),
            "padding": (layer.padding, "valid"),
        }
    else:
        rectified = layer.activation is keras.activations.relu
        activation = getattr(layer.activation, "__name__", type(layer.activation).__name__)
        found = {
            "kernel": (tuple(layer.kernel.shape), kernel),
            "activation": ("relu" if rectified else repr(activation), "relu"),
            "bias": ("present" if layer.use_bias else "missing", "present"),
            "padding": (layer.padding, "same"),
            "strides": (tuple(layer.strides), (1, 1)),
            "dilation": (tuple(layer.dilation_rate), (1, 1)),
        }
    for what, (got, wanted) in found.items():
        if got != wanted:
            yield f"its {what} is {got}, expected {wanted}"
            if what == "activation":
                yield "a separate ReLU layer is not accepted instead"
