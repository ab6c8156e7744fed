"""Load the Keras network to export, and flatten nested models into one chain of layers."""

import functools
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsefeat_export.errors import WeightsError, first_line
from sparsefeat_export.network.chain import (
    N_BASE_LAYERS,
    check_base,
    check_usable,
    connect,
    open_operations,
    recorded,
    split_front,
)
from sparsefeat_export.scaling import MODES, Scaling, measure, scale_as_keras
from sparsefeat_export.sources import (
    DEFAULT_SIZE,
    Request,
    Weights,
    check_finite,
    is_whole_model,
    read_weights,
)

UNLOADABLE = {
    "Lambda": "and Python code from a file is not executed",
    "TFOpLambda": "which only Keras 2 can load",
    "SlicingOpLambda": "which only Keras 2 can load",
}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A Keras model whose outputs are all its layers, by name.

    `layers` are in network order; `height` and `width` are None if the model accepts any size.
    """

    model: Any  # keras.Model: images -> {layer name: activation}
    layers: tuple[Any, ...]
    height: int | None
    width: int | None
    size: tuple[int, int]  # default height and width of images
    source: str  # where the weights come from, for messages and metadata
    scaling: Scaling  # from RGB pixels to the input of the first convolution
    original: Callable[[Any], Any]  # runs the original model on pixels, scaled as its user does
    notes: tuple[str, ...] = ()  # remarks for the user, one line each
    assumed: str = ""  # a line that says which scaling was assumed; empty if it is known

    def predict(self, pixels: Any) -> dict[str, Any]:
        """Return the output of each layer in `Model.predict` of the original model.

        `pixels` are RGB, float32 (1, H, W, 3).
        """
        with recorded(self.layers) as seen:
            self.original(pixels)
        return {layer.name: seen[layer.name][1] for layer in self.layers}


def load(request: Request) -> Network:
    """Build or load the network that `request` names, with its weights.

    Raises
    ------
    WeightsError
        The weights are not those of a VGG16 (the message names the layer); or the operations before
        the first convolution are not a scaling, or not the scaling that was asked for.
    DownloadError
        The weights could not be downloaded.
    """
    import keras

    # Override the user's Keras configuration file.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    path, top = Path(request.weights), request.top
    suffix = path.suffix.lower()
    notes: tuple[str, ...] = ()
    known: Scaling | None = None
    if suffix == ".keras" or (suffix in (".h5", ".hdf5") and is_whole_model(path)):
        model, source = _saved(path), path.name
    else:
        weights = read_weights(request)
        model, source, top = _blank(weights, request.channels_divisor), weights.source, weights.top
        known = weights.scaling
        if suffix == ".onnx" and known is not None and request.scaling is None:
            notes = (f"{source} says how its pixels are scaled: {known} ({known.mode})",)
        if suffix in (".h5", ".hdf5") and top:
            guessed = (
                f"{source} records neither the image size nor the last activation: using "
                f"{weights.size} x {weights.size} pixels, which fits fc1, and a softmax"
            )
            notes = (guessed,)
        for name, kernel, bias in weights.arrays():
            layer = model.get_layer(name)
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)
    network = _flat(model, top, request.channels_divisor, source, request.scaling, known)
    for layer in network.layers:
        for weight in layer.weights:
            check_finite(f"{source}: {layer.name}/{weight.name}", np.asarray(weight))
    return replace(network, notes=notes + network.notes)


def _saved(path: Path) -> Any:
    import keras

    if path.suffix.lower() == ".keras" and not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is not a .keras file, expected what model.save() writes")
    try:
        with tempfile.TemporaryDirectory(prefix="sparsefeat-") as folder:
            named = path
            if path.suffix != path.suffix.lower():  # Keras tells formats apart by lower case
                named = Path(folder) / f"weights{path.suffix.lower()}"
                named.symlink_to(path)
            return keras.saving.load_model(named, compile=False, safe_mode=True)
    except Exception as exc:  # for a damaged file, deserialisation can raise anything
        for kind, why in UNLOADABLE.items():
            if kind in _layer_classes(path):
                raise WeightsError(
                    f"{path}: Keras cannot load this model: it has a {kind} layer, {why}; build it "
                    "with a Rescaling layer, or without one and with --scaling to say how pixels "
                    "are scaled"
                ) from exc
        raise WeightsError(f"{path}: Keras cannot load this model: {first_line(exc)}") from exc


def _layer_classes(path: Path) -> set[str]:
    """Return the class names of the layers in a saved model's configuration."""
    import h5py

    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                text = archive.read("config.json").decode()
        else:
            with h5py.File(path, "r") as file:
                text = str(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return set()
    return set(re.findall(r'"class_name": *"(\w+)"', text))


def _blank(weights: Weights, channels_divisor: int) -> Any:
    """Build Keras' VGG16 with zero weights, its channels divided by `channels_divisor`."""
    import keras

    side = weights.size if weights.top else None
    # Only the configuration is needed; in this scope no weight is allocated.
    with keras.StatelessScope(initialize_variables=False):
        config = keras.applications.VGG16(
            include_top=weights.top,
            weights=None,
            input_shape=(side, side, 3),
            classes=weights.classes,
            classifier_activation=None if weights.logits else "softmax",
        ).get_config()
    # Otherwise Keras would allocate the skipped weights at the end of the next such scope.
    keras.utils.clear_session(free_memory=False)
    planned = {one.name: one for one, _ in weights.layers}
    for layer in config["layers"]:
        layer.pop("build_config", None)  # it has the full width; the input shapes are enough
        if layer["name"] in planned:
            width = "filters" if layer["class_name"] == "Conv2D" else "units"
            layer["config"][width] = planned[layer["name"]].kernel[-1]
            layer["config"]["kernel_initializer"] = "zeros"
    return keras.Model.from_config(config)


def _flat(
    model: Any,
    top: bool | None,
    channels_divisor: int,
    source: str,
    asked: str | None,
    known: Scaling | None,
) -> Network:
    """Rebuild `model` as one chain of layers, without nested models, with every layer an output.

    `asked` is the scaling that the user named, `known` the one that the weights are known to need.
    """
    import keras

    front, layers = split_front(list(open_operations(model)), source)
    check_base(layers, channels_divisor, source)
    if top and len(layers) == N_BASE_LAYERS:
        raise WeightsError(
            f"{source} has no top, fc1 is missing after {layers[-1].name}: leave --top out, "
            "or use weights with a top"
        )
    if top is False:
        layers = layers[:N_BASE_LAYERS]
    check_usable(layers, source)
    with_top = len(layers) > N_BASE_LAYERS
    n_inputs = len(getattr(model, "inputs", None) or ())
    if with_top:
        _check_ends(model, source)
    elif front and n_inputs != 1:
        raise WeightsError(
            f"{source}: the model has {n_inputs} inputs and {_names(front)} before "
            f"{layers[0].name}, expected one input"
        )
    if n_inputs != 1:  # it can't be called with just an image
        images = keras.Input((None, None, 3))
        model = keras.Model(images, connect(layers, images, source))
    *_, n_channels = model.input_shape
    if n_channels != 3:
        raise WeightsError(
            f"{source}: its images have {n_channels} channel{'s' * (n_channels != 1)}, "
            "expected 3: red, green, blue"
        )
    fixed = model.input_shape[1:3]
    size = (fixed[0] or DEFAULT_SIZE, fixed[1] or DEFAULT_SIZE)
    inside, idle = _scaling_inside(model, front, layers[0], size, source)
    scaling, scaled, notes, assumed = _decide_scaling(inside, asked, known, front, idle, source)
    original = functools.partial(_run, model, scaled)
    height, width = fixed if with_top else (None, None)
    images = keras.Input((height, width, 3), name="images")
    flat = keras.Model(images, connect(layers, images, source))
    if with_top:
        _check_same(original, flat, layers, size, source)
    return Network(
        model=flat,
        layers=tuple(layers),
        height=height,
        width=width,
        size=size,
        source=source,
        scaling=scaling,
        original=original,
        notes=notes,
        assumed=assumed,
    )


def _run(model: Any, scaling: Scaling, pixels: Any) -> Any:
    """Run `Model.predict` eagerly on scaled pixels, so that the layers inside can be recorded."""
    model.run_eagerly = True
    return model.predict(scale_as_keras(pixels, scaling), verbose=0)


def _check_ends(model: Any, source: str) -> None:
    """Raise unless the model has one input and one output."""
    counts = [len(getattr(model, ends, None) or ()) for ends in ("inputs", "outputs")]
    if counts != [1, 1]:
        raise WeightsError(
            f"{source}: the model has {counts[0]} inputs and {counts[1]} outputs, expected one of "
            "each; --no-top leaves out the layers after block5_pool"
        )


def _scaling_inside(
    model: Any, front: list[Any], first: Any, size: tuple[int, int], source: str
) -> tuple[Scaling, list[Any]]:
    """Measure how the operations in `front` scale pixels, and find those that do nothing.

    The scaling is measured, so it doesn't matter which layers and operations implement it.

    Raises
    ------
    WeightsError
        The operations do more than scale each channel by itself.
    """
    import keras

    if not front:
        return MODES["none"], []
    with recorded([*front, first]) as seen:

        def function(pixels: Any) -> Any:
            try:
                _run(model, MODES["none"], pixels)
            except Exception as exc:  # a model's layers can raise anything
                raise WeightsError(
                    f"{source}: the model can't be run on images of {size[0]}x{size[1]}: "
                    f"{first_line(exc)}"
                ) from exc
            return seen[first.name][0]

        scaling = measure(function, *size)
        idle = [
            one
            for one in front
            if isinstance(one, keras.layers.Layer) and _is_idle(*seen.get(one.name, (0, 1)))
        ]
    changing = [one for one in front if one not in idle]
    seen_size = tuple(seen[first.name][0].shape[1:3])
    if seen_size != size:
        raise WeightsError(
            f"{source}: {_names(changing)}, before {first.name}, changes the image size from "
            f"{size[0]}x{size[1]} to {seen_size[0]}x{seen_size[1]}: export the model without it"
        )
    if scaling is None:
        raise WeightsError(
            f"{source}: {_names(changing)}, before {first.name}, does more than multiply each "
            "channel by a factor and add an offset: export the model without it, and name the "
            "scaling with --scaling"
        )
    return scaling, idle


def _is_idle(given: Any, output: Any) -> bool:
    return np.array_equal(np.asarray(given), np.asarray(output))


def _decide_scaling(
    inside: Scaling,
    asked: str | None,
    known: Scaling | None,
    front: list[Any],
    idle: list[Any],
    source: str,
) -> tuple[Scaling, Scaling, tuple[str, ...], str]:
    """Decide how pixels are scaled in total, and which of that is done before the model is called.

    Returns
    -------
    scaling, scaled, notes, assumed
        Fields of `Network`, and the scaling of pixels before the model is called.

    Raises
    ------
    WeightsError
        The model scales pixels itself, and another scaling was asked for.
    """
    dropped = f"; left out, without effect at inference: {_names(idle)}" if idle else ""
    if inside != MODES["none"]:
        doing = _names([one for one in front if one not in idle])
        if asked not in (None, "none", inside.mode):
            raise WeightsError(
                f"{source} scales pixels itself ({doing}: {inside}), but --scaling {asked} was "
                "given: leave --scaling out; if your program also scales pixels before it calls "
                "the model, export keras.Model(x, model(scaled(x))), which does both"
            )
        note = f"{source} scales pixels itself, by {doing}: {inside} ({inside.mode})"
        return inside, MODES["none"], (note + dropped,), ""
    if asked is not None:
        other = "" if known in (None, MODES[asked]) else f"; the weights say {known} ({known.mode})"
        note = f"pixels are scaled as --scaling {asked} says: {MODES[asked]}{other}"
        return MODES[asked], MODES[asked], (note + dropped,), ""
    if known is not None:
        return known, known, (), ""
    assumed = MODES["caffe"]
    note = (
        f"{source} does not say how its pixels are scaled: assuming --scaling caffe, as for Keras' "
        f"VGG16 ({assumed}); if it was trained with another scaling, use --scaling tf, torch, 0..1 "
        "or none"
    )
    return assumed, assumed, (), note + dropped


def _names(operations: Sequence[Any]) -> str:
    return ", ".join(one.name for one in operations)


def _check_same(
    original: Callable[[Any], Any],
    flat: Any,
    layers: Sequence[Any],
    size: tuple[int, int],
    source: str,
) -> None:
    """Raise if the layers in sequence don't compute what the model computes (it has branches)."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.float32)
    with recorded(layers[:1]) as seen:
        expected = np.asarray(original(pixels))
        images = seen[layers[0].name][0]
    got = np.asarray(flat(images, training=False)[layers[-1].name])
    # NaN counts as equal here, because the check of the weights reports it better.
    if expected.shape != got.shape or not np.allclose(expected, got, rtol=1e-4, equal_nan=True):
        raise WeightsError(
            f"{source}: its layers in sequence do not compute what the model computes, expected a "
            "chain of layers without branches"
        )
