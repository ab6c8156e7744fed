"""The scaling of pixels that a model was trained with is exported with it."""

import functools
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data

import sparsefeat
from sparsefeat import normalize
from sparsefeat.cli import main
from sparsefeat.errors import InputError, LayerError, StoreMismatchError
from sparsefeat.images import SCALINGS, list_images
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.images import SHIPPED
from sparsefeat_export.model_file import read_metadata
from sparsefeat_export.scaling import MODES
from sparsefeat_export.sources.onnx_file import read_scaling
from sparsefeat_kernels import to_dense

from .conftest import EXPORT_COMMAND, QuickExport, RunInKeras

PHOTOGRAPHS = [str(SHIPPED / name) for name in ("astronaut.jpg", "china.jpg", "coffee.jpg")]

# By model: the requested scaling, the one found, and words of the message. The first are exported.
EXPECTED: dict[str, tuple[str | None, str, list[str]]] = {
    "plain": ("0..1", "0..1", ["as --scaling 0..1 says: red, green, blue / 255"]),
    "guide": (None, "tf", ["by rescaling", "/ 127.5 minus 1 (tf)", "random_flip, random_rotation"]),
    "normalization": (None, "custom", ["in 0..255 minus 120, 115, 100, divided by 64.0312"]),
    "preprocess_input": ("caffe", "caffe", ["by get_item", "103.939, 116.779, 123.68 (caffe)"]),
    "sequential": (None, "0..1", ["by scale", "left out, without effect at inference: flip"]),
    "rescaling": ("none", "0..1", ["itself, by scale: red, green, blue / 255 (0..1)"]),
    "torch": (None, "torch", ["divided by 0.229, 0.224, 0.225 (torch)"]),
    "sequential_nested": (None, "tf", ["by rescaling"]),
    "augmented": ("tf", "tf", ["as --scaling tf says", "left out, without effect at inference"]),
}
EXPORTED = list(EXPECTED)[:3]
CUT = "normalization"  # exported without its top

# By request: the file, the requested scaling, and words of the error.
REFUSED: dict[str, tuple[str, str | None, list[str]]] = {
    "other scaling": ("guide", "caffe", ["itself (rescaling: ", "--scaling caffe", "leave"]),
    "own mean": ("own_mean", None, ["mean, subtract, before block1_conv1", "--scaling"]),
    "mixed": ("mixed", None, ["mix, before block1_conv1, does more than multiply"]),
    "clipped": ("clipped", None, ["clip, before block1_conv1, does more than multiply"]),
    "resizing": ("resizing", None, ["resizing, before", "from 180x180 to 150x150"]),
    "lambda": ("lambda", None, ["cannot load", "a Lambda layer", "Rescaling"]),
    "grey": ("grey", None, ["1 channel, expected 3"]),
    "four": ("four", None, ["4 channels, expected 3"]),
    "unbuilt": ("unbuilt", None, ["has no weights yet"]),
    "leaky": ("leaky", None, ["'block1_conv1'", "its activation is 'leaky_relu', expected relu"]),
    "valid": ("valid", None, ["its padding is valid"]),
    "strided": ("strided", None, ["its strides is (2, 2)"]),
    "dilated": ("dilated", None, ["its dilation is (2, 2)"]),
    "no bias": ("no_bias", None, ["its bias is missing"]),
    "half": ("half", None, ["'block1_conv1' holds or computes in float16, expected float32"]),
}

LOAD = """
import json, sys
from pathlib import Path
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.network import load
from sparsefeat_export.sources import Request

found = {}
for name, (file, scaling) in json.loads(sys.argv[2]).items():
    path = str(Path(sys.argv[1]) / f"{file}.keras")
    try:
        network = load(Request(weights=path, top=None, scaling=scaling, channels_divisor=16))
    except WeightsError as exc:
        found[name] = str(exc)
    else:
        said = network.notes or (network.assumed,)
        found[name] = [network.scaling.mode, network.size, *said]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def models(run_in_keras: RunInKeras, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `scaled_models.py` fills."""
    folder = tmp_path_factory.mktemp("scaled")
    done = run_in_keras(Path(__file__).with_name("scaled_models.py"), folder, *PHOTOGRAPHS)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def scaled_export(
    models: Path, quick_export: QuickExport, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that gives a model's export by its name."""
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def export(name: str) -> Path:
        path = folder / f"{name}.onnx"
        quick_export(
            path,
            weights=models / f"{name}.keras",
            scaling=EXPECTED[name][0],
            top=False if name == CUT else None,
        )
        return path

    return export


@pytest.fixture(scope="module")
def loaded(models: Path, run_in_keras: RunInKeras) -> dict[str, Any]:
    """The outcome of each request, from one process."""
    requests: dict[str, tuple[str, str | None]] = {
        name: (name, asked) for name, (asked, *_) in EXPECTED.items()
    }
    requests |= {name: (file, asked) for name, (file, asked, _) in REFUSED.items()}
    requests["unsaid"] = ("plain", None)
    done = run_in_keras(LOAD, models, json.dumps(requests))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", EXPORTED)
def test_features_of_files_equal_the_model_s_own_predict(
    models: Path, scaled_export: Callable[[str], Path], name: str
) -> None:
    with np.load(models / f"{name}.npz") as arrays:
        expected = dict(arrays)
    if name == CUT:
        expected = {"block5_pool": expected["block5_pool"]}
    extractor = sparsefeat.Extractor(scaled_export(name), list(expected))
    assert extractor.image_size == (150, 150)
    assert extractor.scaling.mode == EXPECTED[name][1]
    (batch,) = extractor.extract(PHOTOGRAPHS)
    for layer, activation in expected.items():
        theirs = activation.reshape(len(PHOTOGRAPHS), -1)
        ours = to_dense(batch.layers[layer])
        error = np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs)
        assert error < 1e-5, layer
        assert np.mean((ours == 0) == (theirs == 0)) >= 0.9999


@pytest.mark.parametrize("name", EXPECTED)
def test_the_measured_scaling_is_reported_in_one_line(loaded: dict[str, Any], name: str) -> None:
    _, mode, words = EXPECTED[name]
    found, size, line = loaded[name]
    assert (found, size) == (mode, [150, 150])
    assert "\n" not in line
    for part in words:
        assert part in line


def test_an_unknown_scaling_is_assumed_to_be_caffe_with_a_message(
    loaded: dict[str, Any],
) -> None:
    mode, _, line = loaded["unsaid"]
    assert mode == "caffe"
    assert "does not say how its pixels are scaled: assuming --scaling caffe" in line
    assert "use --scaling tf, torch, 0..1 or none" in line


@pytest.fixture(scope="module")
def assumed(
    models: Path, run_in_keras: RunInKeras, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, str]:
    """The export of a model with unknown scaling without `--scaling`, and what is printed."""
    path = tmp_path_factory.mktemp("assumed") / "plain.onnx"
    photos = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(sorted(SHIPPED.glob("*.jpg"))[:8]):
        shutil.copy(photo, photos / f"{number}.jpg")
    options = ["--weights", models / "plain.keras", "-o", path, "--images", photos, "--json"]
    done = run_in_keras(EXPORT_COMMAND, *options)
    assert done.returncode == 0, done.stderr
    return path, done.stdout, done.stderr


def test_the_command_warns_in_one_line_of_an_assumed_scaling(
    assumed: tuple[Path, str, str],
) -> None:
    converting, warned, certifying = assumed[2].splitlines()
    assert converting.startswith("converting")
    assert warned.startswith(
        "warning: plain.keras does not say how its pixels are scaled: assuming --scaling caffe"
    )
    assert certifying.startswith("certifying")


def test_the_certificate_is_measured_on_the_given_photographs(
    assumed: tuple[Path, str, str],
) -> None:
    path, printed, _ = assumed
    certificate = json.loads(printed)["certificate"]
    assert certificate == read_metadata(path)["certificate"]
    assert [one["name"] for one in certificate["images"]] == [f"{n}.jpg" for n in range(8)]


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_can_not_be_exported_are_refused_in_one_line(
    loaded: dict[str, Any], name: str
) -> None:
    message = loaded[name]
    assert isinstance(message, str), message
    assert "\n" not in message
    for part in REFUSED[name][2]:
        assert part in message


def test_named_scalings_equal_keras_bit_for_bit(models: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    with np.load(models / "modes.npz") as arrays:
        expected = dict(arrays)
    expected["0..1"] = levels.astype(np.float32) / 255
    expected["none"] = levels.astype(np.float32)
    assert expected.keys() == SCALINGS.keys() == MODES.keys()
    for mode, theirs in expected.items():
        assert normalize(levels, SCALINGS[mode]).tobytes() == theirs.tobytes(), mode
        assert MODES[mode].apply(levels).tobytes() == theirs.tobytes(), mode
        assert str(MODES[mode]) == str(SCALINGS[mode])


def test_the_scaling_is_read_from_onnx_graphs(
    models: Path, keras_files: Path, scaled_export: Callable[[str], Path]
) -> None:
    """From graphs that tf2onnx makes of such models, and from our own exports."""
    assert read_scaling(models / "preprocess_input.onnx") == MODES["caffe"]
    assert read_scaling(models / "sequential.onnx") == MODES["0..1"]
    assert read_scaling(keras_files / "naive.onnx") is None
    with pytest.raises(WeightsError, match=r"own_mean\.onnx: the operators before its first conv"):
        read_scaling(models / "own_mean.onnx")
    assert read_scaling(scaled_export("guide")) == MODES["tf"]
    custom = read_scaling(scaled_export("normalization"))
    assert custom is not None
    assert custom.mode == "custom"


def test_arrays_are_checked_with_the_model_s_own_scaling(
    scaled_export: Callable[[str], Path],
) -> None:
    extractor = sparsefeat.Extractor(scaled_export("plain"), "block1_pool")
    pixels = data.astronaut()[np.newaxis, :150, :150]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extractor.run(sparsefeat.normalize(pixels, extractor.scaling))
        extractor.run(pixels / np.float32(255))
    with pytest.warns(
        sparsefeat.ScalingWarning, match=r"as for Keras' VGG16.*expected red.* / 255"
    ):
        extractor.run(sparsefeat.normalize(pixels))
    with pytest.warns(sparsefeat.ScalingWarning, match="unscaled pixels from 0 to 255"):
        extractor.run(pixels.astype(np.float32))


def test_a_store_refuses_rows_with_another_scaling(
    scaled_export: Callable[[str], Path], assumed: tuple[Path, str, str], tmp_path: Path
) -> None:
    """The same weights, exported again for pixels in another range."""
    other, *_ = assumed
    store = tmp_path / "features"
    images = list_images([PHOTOGRAPHS[0]])
    sparsefeat.extract(images, store, model=sparsefeat.Extractor(scaled_export("plain"), "gap"))
    scaling = sparsefeat.open(store).settings["scaling"]
    assert scaling == {
        "mode": "0..1",
        "channel_order": "RGB",
        "divisor": 255.0,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }
    with pytest.raises(StoreMismatchError, match="scaling"):
        sparsefeat.extract(images, store, model=sparsefeat.Extractor(other, "gap"))


KERAS = """
import sys
import numpy as np
from sparsefeat_export.keras_engine import KerasEngine
model, output, *files = sys.argv[1:]
found = {}
for way in ("predict", "function"):
    engine = KerasEngine(model=model, layers=["block5_pool"], mode=way, threads=1)
    (outputs,) = engine.extract(files, batch_size=len(files), size=(150, 150))
    found[way] = outputs["block5_pool"]
np.savez(output, **found)
"""


def test_the_benchmark_s_keras_engine_scales_pixels_for_the_model(
    scaled_export: Callable[[str], Path], run_in_keras: RunInKeras, tmp_path: Path
) -> None:
    path = scaled_export(CUT)
    extractor = sparsefeat.Extractor(path, "block5_pool")
    assert extractor.image_size == (150, 150)
    (batch,) = extractor.extract(PHOTOGRAPHS)
    ours = to_dense(batch.layers["block5_pool"])
    done = run_in_keras(KERAS, path, tmp_path / "keras.npz", *PHOTOGRAPHS)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "keras.npz") as found:
        for way in ("predict", "function"):
            theirs = found[way].reshape(ours.shape)
            assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs), way


def test_messages_name_the_layers_of_the_model_s_own_top(
    scaled_export: Callable[[str], Path],
) -> None:
    path = scaled_export("plain")
    assert list(sparsefeat.Extractor(path, "stages").layers)[5:] == ["hidden"]
    with pytest.raises(
        InputError, match=r"takes 150x150 only.*gap, drop, hidden, classes.*--no-top"
    ):
        sparsefeat.Extractor(path, size=(224, 224))
    with pytest.raises(LayerError, match="'fc1': after the last pool it has gap, drop, hidden"):
        sparsefeat.Extractor(path, "fc1")


def test_info_shows_the_scaling(scaled_export: Callable[[str], Path]) -> None:
    done = CliRunner().invoke(main, ["info", str(scaled_export("plain"))])
    assert done.exit_code == 0
    assert "pixels are scaled to red, green, blue / 255 (0..1)" in done.stdout
