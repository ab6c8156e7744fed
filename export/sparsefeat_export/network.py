"""The Keras network that is exported, flat: one layer after the other, nothing nested."""

import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsefeat_export import plan
from sparsefeat_export.chain import N_BASE_LAYERS, check_base, check_usable, connect, open_layers
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.request import Request
from sparsefeat_export.sources import is_whole_model, read_weights
from sparsefeat_export.weights import Weights, check_finite


@dataclass(frozen=True, kw_only=True)
class Network:
    """A Keras model whose outputs are all its layers, by name.

    `layers` are in network order; `height` and `width` are None where any size will do.
    """

    model: Any  # keras.Model: images -> {layer name: activation}
    layers: tuple[Any, ...]
    height: int | None
    width: int | None
    source: str  # of the weights, in words
    assumed: str | None = None  # what the source leaves open, and how it was understood


def load(request: Request) -> Network:
    """Build or load the network that `request` names, with its weights.

    Raises
    ------
    WeightsError
        The weights are not those of a VGG16; the message names the layer.
    DownloadError
        Weights were to be fetched and could not be.
    """
    path, top = Path(request.weights), request.top
    suffix = path.suffix.lower()
    assumed: str | None = None
    if suffix == ".keras" or (suffix in (".h5", ".hdf5") and is_whole_model(path)):
        model, source = _saved(path), path.name
    else:
        weights = read_weights(request)
        model, source, top = _blank(weights, request.channels_divisor), weights.source, weights.top
        if suffix in (".h5", ".hdf5") and top:
            assumed = (
                f"{source} says neither a size nor what follows predictions: taking pictures of "
                f"{weights.size} x {weights.size} pixels, after fc1, and a softmax"
            )
        for name, kernel, bias in weights.arrays():
            layer = model.get_layer(name)
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)
    network = replace(_flat(model, top, request.channels_divisor, source), assumed=assumed)
    for layer in network.layers:
        for weight in layer.weights:
            check_finite(f"{source}: {layer.name}/{weight.name}", np.asarray(weight))
    return network


def _saved(path: Path) -> Any:
    import keras

    if path.suffix.lower() == ".keras" and not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is not a .keras file, expected what model.save() writes")
    try:
        with tempfile.TemporaryDirectory(prefix="sparsefeat-") as folder:
            named = path
            if path.suffix != path.suffix.lower():  # by which Keras tells formats apart
                named = Path(folder) / f"weights{path.suffix.lower()}"
                named.symlink_to(path)
            return keras.saving.load_model(named, compile=False, safe_mode=True)
    except Exception as exc:  # whatever its deserialisation meets in a file from outside
        raise WeightsError(f"{path}: Keras cannot load this model: {_first_line(exc)}") from exc


def _blank(weights: Weights, channels_divisor: int) -> Any:
    """Make Keras' own VGG16, its weights zero, as narrow as `channels_divisor` says."""
    import keras

    side = weights.size if weights.top else None
    # Only its configuration is wanted: in this scope no weight is allocated.
    with keras.StatelessScope(initialize_variables=False):
        config = keras.applications.VGG16(
            include_top=weights.top,
            weights=None,
            input_shape=(side, side, 3),
            classes=weights.classes,
            classifier_activation=None if weights.logits else "softmax",
        ).get_config()
    # Keras remembers the weights it did not allocate, and would at the next such scope's end.
    keras.utils.clear_session(free_memory=False)
    planned = {one.name: one for one, _ in weights.layers}
    for layer in config["layers"]:
        layer.pop("build_config", None)  # of the full width; building follows from the inputs
        if layer["name"] in planned:
            width = "filters" if layer["class_name"] == "Conv2D" else "units"
            layer["config"][width] = planned[layer["name"]].kernel[-1]
            layer["config"]["kernel_initializer"] = "zeros"
    return keras.Model.from_config(config)


def _flat(model: Any, top: bool | None, channels_divisor: int, source: str) -> Network:
    """Chain the layers of `model` anew, models inside it opened, and let each be an output."""
    import keras

    layers = list(open_layers(model, source))
    check_base(layers, channels_divisor, source)
    if top and len(layers) == N_BASE_LAYERS:
        raise WeightsError(
            f"{source} has no top, fc1 is missing behind {layers[-1].name}: leave --top out, "
            "or take weights that have one"
        )
    if top is False:
        layers = layers[:N_BASE_LAYERS]
    check_usable(layers, source)
    with_top = len(layers) > N_BASE_LAYERS
    if with_top:
        _check_ends(model, source)
    height, width = model.input_shape[1:3] if with_top else (None, None)
    images = keras.Input((height, width, 3), name="images")
    flat = keras.Model(images, connect(layers, images, source))
    if with_top:
        _check_same(model, flat, layers[-1].name, source)
    return Network(model=flat, layers=tuple(layers), height=height, width=width, source=source)


def _check_ends(model: Any, source: str) -> None:
    """Refuse a model that is no function of one tensor to one tensor."""
    counts = [len(getattr(model, ends, None) or ()) for ends in ("inputs", "outputs")]
    if counts != [1, 1]:
        raise WeightsError(
            f"{source}: the model has {counts[0]} inputs and {counts[1]} outputs, expected one of "
            "each; --no-top leaves out what follows block5_pool"
        )


def _check_same(model: Any, flat: Any, last: str, source: str) -> None:
    """Refuse a model with branches: its layers in sequence give other numbers than itself."""
    height, width = (extent or plan.DEFAULT_SIZE for extent in model.input_shape[1:3])
    images = np.random.default_rng(0).uniform(-128, 128, (1, height, width, 3)).astype(np.float32)
    expected = np.asarray(model(images, training=False))
    got = np.asarray(flat(images, training=False)[last])
    # Equal or not finite, which the weights' own check reports better.
    if expected.shape != got.shape or not np.allclose(expected, got, rtol=1e-4, equal_nan=True):
        raise WeightsError(
            f"{source}: its layers one after the other do not give what the model gives, "
            "expected a chain of layers without branches"
        )


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
