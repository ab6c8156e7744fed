"""The Keras network that is exported, flat: one layer after the other, nothing nested."""

import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsefeat_export.errors import WeightsError
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
    "Lambda": "whose Python code is not run from a file",
    "TFOpLambda": "an operation as only Keras 2 can load it",
    "SlicingOpLambda": "an operation as only Keras 2 can load it",
}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A Keras model whose outputs are all its layers, by name.

    `layers` are in network order; `height` and `width` are None where any size will do.
    """

    model: Any  # keras.Model: images -> {layer name: activation}
    layers: tuple[Any, ...]
    height: int | None
    width: int | None
    size: tuple[int, int]  # height, width of images where nobody asks for another
    source: str  # of the weights, in words
    scaling: Scaling  # from RGB pixels to the first convolution
    own: "Own"  # the model as it was built
    notes: tuple[str, ...] = ()  # what was found, a line each
    assumed: str = ""  # what had to be assumed of the scaling, a line

    def predict(self, pixels: Any) -> dict[str, Any]:
        """Give what each layer gives in `Model.predict` of the model as it was built.

        Its input is RGB pixels, float32 (1, H, W, 3), scaled as `own.scaled` says, by Keras.
        """
        with recorded(self.layers) as seen:
            self.own.run(pixels)
        return {layer.name: seen[layer.name][1] for layer in self.layers}


@dataclass(frozen=True, kw_only=True)
class Own:
    """A model as it was built, and how pixels are scaled before it is given them."""

    model: Any
    scaled: Scaling

    def run(self, pixels: Any) -> Any:
        """Run `Model.predict`, eagerly so that what happens inside can be recorded."""
        self.model.run_eagerly = True
        return self.model.predict(scale_as_keras(pixels, self.scaled), verbose=0)


def load(request: Request) -> Network:
    """Build or load the network that `request` names, with its weights.

    Raises
    ------
    WeightsError
        The weights are not those of a VGG16, the message names the layer; or what lies in front
        of its first convolution is no scaling, or another one than was asked for.
    DownloadError
        Weights were to be fetched and could not be.
    """
    import keras

    # Whatever the user's own configuration file says.
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
            unsaid = (
                f"{source} says neither a size nor what follows predictions: taking images of "
                f"{weights.size} x {weights.size} pixels, after fc1, and a softmax"
            )
            notes = (unsaid,)
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
            if path.suffix != path.suffix.lower():  # by which Keras tells formats apart
                named = Path(folder) / f"weights{path.suffix.lower()}"
                named.symlink_to(path)
            return keras.saving.load_model(named, compile=False, safe_mode=True)
    except Exception as exc:  # whatever its deserialisation meets in a file from outside
        for kind, why in UNLOADABLE.items():
            if kind in _layer_classes(path):
                raise WeightsError(
                    f"{path}: Keras cannot load this model: it has a {kind} layer, {why}; build it "
                    "with a Rescaling layer instead, or without one, and say with --scaling how "
                    "pixels are scaled"
                ) from exc
        raise WeightsError(f"{path}: Keras cannot load this model: {_first_line(exc)}") from exc


def _layer_classes(path: Path) -> set[str]:
    """Name the classes in the configuration of a saved model."""
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


def _flat(
    model: Any,
    top: bool | None,
    channels_divisor: int,
    source: str,
    asked: str | None,
    known: Scaling | None,
) -> Network:
    """Chain the layers of `model` anew, models inside it opened, and let each be an output.

    `asked` is the scaling that the user names, `known` the one that the weights are known for.
    """
    import keras

    front, layers = split_front(list(open_operations(model)), source)
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
    n_inputs = len(getattr(model, "inputs", None) or ())
    if with_top:
        _check_ends(model, source)
    elif front and n_inputs != 1:
        raise WeightsError(
            f"{source}: the model has {n_inputs} inputs and {_names(front)} in front of "
            f"{layers[0].name}, expected one input"
        )
    if n_inputs != 1:  # it can't be run on an image alone
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
    scaling, scaled, notes, assumed = _settle(inside, asked, known, front, idle, source)
    own = Own(model=model, scaled=scaled)
    height, width = fixed if with_top else (None, None)
    images = keras.Input((height, width, 3), name="images")
    flat = keras.Model(images, connect(layers, images, source))
    if with_top:
        _check_same(own, flat, layers, size, source)
    return Network(
        model=flat,
        layers=tuple(layers),
        height=height,
        width=width,
        size=size,
        source=source,
        scaling=scaling,
        own=own,
        notes=notes,
        assumed=assumed,
    )


def _check_ends(model: Any, source: str) -> None:
    """Refuse a model that is no function of one tensor to one tensor."""
    counts = [len(getattr(model, ends, None) or ()) for ends in ("inputs", "outputs")]
    if counts != [1, 1]:
        raise WeightsError(
            f"{source}: the model has {counts[0]} inputs and {counts[1]} outputs, expected one of "
            "each; --no-top leaves out what follows block5_pool"
        )


def _scaling_inside(
    model: Any, front: list[Any], first: Any, size: tuple[int, int], source: str
) -> tuple[Scaling, list[Any]]:
    """Measure what `front` does to pixels before `first` sees them, and which layers do nothing.

    Measured, so that it doesn't matter which layers and operations it is made of.

    Raises
    ------
    WeightsError
        It is no scaling of each channel by itself.
    """
    import keras

    if not front:
        return MODES["none"], []
    with recorded([*front, first]) as seen:

        def function(pixels: Any) -> Any:
            try:
                Own(model=model, scaled=MODES["none"]).run(pixels)
            except Exception as exc:  # its layers raise what they like
                raise WeightsError(
                    f"{source}: the model can't be run on images of {size[0]}x{size[1]}: "
                    f"{_first_line(exc)}"
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
            f"{source}: {_names(changing)}, in front of {first.name}, makes images of "
            f"{seen_size[0]}x{seen_size[1]} from those of {size[0]}x{size[1]}: export the model "
            "without it"
        )
    if scaling is None:
        raise WeightsError(
            f"{source}: {_names(changing)}, in front of {first.name}, does more than multiply a "
            "channel's pixels by a number and add one: export the model without it, and say with "
            "--scaling how its pixels are scaled"
        )
    return scaling, idle


def _is_idle(given: Any, output: Any) -> bool:
    return np.array_equal(np.asarray(given), np.asarray(output))


def _settle(
    inside: Scaling,
    asked: str | None,
    known: Scaling | None,
    front: list[Any],
    idle: list[Any],
    source: str,
) -> tuple[Scaling, Scaling, tuple[str, ...], str]:
    """Decide on the whole scaling, and on its part before the model; say why, or what was assumed.

    Raises
    ------
    WeightsError
        The model scales pixels itself, but in another way than was asked for.
    """
    dropped = f"; left out, without effect at inference: {_names(idle)}" if idle else ""
    if inside != MODES["none"]:
        doing = _names([one for one in front if one not in idle])
        if asked not in (None, "none", inside.mode):
            raise WeightsError(
                f"{source} scales pixels itself ({doing}: {inside}), but --scaling {asked} was "
                "asked for: leave --scaling out; if your program scales pixels before that as "
                "well, export keras.Model(x, model(scaled(x))), which does both"
            )
        note = f"{source} scales pixels itself, by {doing}: {inside} ({inside.mode})"
        return inside, MODES["none"], (note + dropped,), ""
    if asked is not None:
        said = "" if known in (None, MODES[asked]) else f", not {known} ({known.mode})"
        note = f"pixels are scaled as --scaling {asked} says: {MODES[asked]}{said}"
        return MODES[asked], MODES[asked], (note + dropped,), ""
    if known is not None:
        return known, known, (), ""
    assumed = MODES["caffe"]
    note = (
        f"{source} does not say how its pixels are scaled: assuming --scaling caffe, as for Keras' "
        f"VGG16 ({assumed}); if it was trained otherwise, say --scaling tf, torch, 0..1 or none"
    )
    return assumed, assumed, (), note + dropped


def _names(operations: Sequence[Any]) -> str:
    return ", ".join(one.name for one in operations)


def _check_same(
    own: Own, flat: Any, layers: Sequence[Any], size: tuple[int, int], source: str
) -> None:
    """Refuse a model with branches: its layers in sequence give other numbers than itself."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.float32)
    with recorded(layers[:1]) as seen:
        expected = np.asarray(own.run(pixels))
        images = seen[layers[0].name][0]
    got = np.asarray(flat(images, training=False)[layers[-1].name])
    # Equal or not finite, which the weights' own check reports better.
    if expected.shape != got.shape or not np.allclose(expected, got, rtol=1e-4, equal_nan=True):
        raise WeightsError(
            f"{source}: its layers one after the other do not give what the model gives, "
            "expected a chain of layers without branches"
        )


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
