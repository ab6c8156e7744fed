"""Complete quantizations of a narrow VGG16 and of part of the real one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from threadpoolctl import threadpool_limits

import sparsefeat_export
from sparsefeat_export.comparison import probe_pixels
from sparsefeat_export.images import SHIPPED, find_images
from sparsefeat_export.model_file import read_metadata, sealed
from sparsefeat_export.quantization.calibration import SPLIT, calibrate
from sparsefeat_export.quantization.graph import quantized_graph, scales_name
from sparsefeat_export.quantization.images import views_of
from sparsefeat_export.quantization.scales import LEVELS
from sparsefeat_export.quantization.stack import Convolution, read_stack
from sparsefeat_export.scaling import MODES

from ..conftest import QuickExport

CAFFE = MODES["caffe"]
COMMAND = [sys.executable, "-c", "from sparsefeat.cli import main; main()", "quantize"]
READERS = {"block1_conv2": "block2_conv1", "block5_conv1": "block5_conv2"}  # of split channels
COMPARED = "block2_conv2"  # deeper layers take minutes and test nothing new


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """For small matrices, two threads of BLAS mostly wait for each other."""
    with threadpool_limits(1, "blas"):
        yield


def run(path: Path, tensors: list[str], images: np.ndarray[Any, Any]) -> list[Any]:
    model = onnx.load(path, load_external_data=False)
    known = {one.name for one in model.graph.output}
    inferred = {one.name: one for one in model.graph.value_info}
    model.graph.output.extend(inferred[name] for name in tensors if name not in known)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path.parent)
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs: list[Any] = session.run(tensors, {"images": images})
    return outputs


def test_the_file_is_valid_and_has_every_layer(
    small_int8: sparsefeat_export.QuantizeResult, small_vgg16: Path
) -> None:
    onnx.checker.check_model(small_int8.path, full_check=True)
    exact = onnx.load(small_vgg16, load_external_data=False).graph
    graph = onnx.load(small_int8.path, load_external_data=False).graph
    assert [one.SerializeToString() for one in graph.output] == [
        one.SerializeToString() for one in exact.output
    ]
    kernels = [one for one in graph.initializer if one.name.endswith("/kernel/int8")]
    assert len(kernels) == 13
    assert all(one.data_type == onnx.TensorProto.INT8 for one in kernels)


def test_layers_are_close_to_float32_and_clear_zeros_are_exact(
    small_int8: sparsefeat_export.QuantizeResult, small_vgg16: Path
) -> None:
    names = [one.layer for one in small_int8.layers]
    # These resemble the calibration images; the probe does not.
    images = views_of(find_images(None, lambda _: None)[:2], (64, 96), CAFFE, least=2, seed=2)
    exact = run(small_vgg16, names, images)
    for name, one, other in zip(names, exact, run(small_int8.path, names, images), strict=True):
        assert other.dtype == np.float32
        assert one.shape == other.shape
        assert np.linalg.norm(one - other) < 0.2 * np.linalg.norm(one), name
        assert other.min() >= 0
        assert (other == 0).mean() > 0.01, name
        # Where float32 gives zero by a margin, int8 gives exactly zero.
        assert other[one == 0].max() < 0.1 * one.max()


def test_split_channels_are_the_sum_of_their_halves(
    small_int8: sparsefeat_export.QuantizeResult,
) -> None:
    model = onnx.load(small_int8.path)
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    images = views_of(find_images(None, lambda _: None)[:2], (64, 96), CAFFE, least=2, seed=2)
    for layer in ("block1_conv2", "block5_conv1", "block5_conv3"):
        counted, whole = run(small_int8.path, [f"{layer}/counted", f"{layer}/nchw"], images)
        n_counts, n_channels = counted.shape[1], whole.shape[1]
        assert n_counts == n_channels * (1 if layer not in SPLIT else 1 + SPLIT[layer])
        second = weights[f"{layer}/beyond/channels"]
        number = counted[:, :n_channels].copy()
        for channel in range(n_channels):
            if second[channel] >= n_channels:
                times = weights[f"{layer}/times"][channel]
                assert times in [1, 4, 8, 16, 32]
                number[:, channel] += times * counted[:, second[channel]]
        np.testing.assert_array_equal(whole, number * weights[scales_name(layer)])
        # The coarse code is zero unless the fine one is at its largest.
        beyond = second[second >= n_channels]
        fine = counted[:, np.flatnonzero(second >= n_channels)]
        assert not counted[:, beyond][fine < 255].any()
        assert counted[:, beyond].any()
        if layer in READERS:
            kernel = weights[f"{READERS[layer]}/kernel/int8"]
            split = np.flatnonzero(second >= n_channels)
            np.testing.assert_array_equal(kernel[:, beyond], kernel[:, split])


def test_pixels_are_exact_and_so_is_their_border(
    small_int8: sparsefeat_export.QuantizeResult,
) -> None:
    images = views_of(find_images(None, lambda _: None)[:1], (64, 96), CAFFE, least=1, seed=2)
    (pixels,) = run(small_int8.path, ["images/counted"], images)
    inside = pixels[:, :, 1:-1, 1:-1].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(inside - np.array(CAFFE.mean), images, atol=1e-4)
    for edge in (pixels[:, :, 0], pixels[:, :, -1], pixels[..., 0], pixels[..., -1]):
        assert (edge == np.rint(CAFFE.mean)[:, np.newaxis]).all()


@pytest.fixture(scope="module")
def torch_scaled(
    keras_files: Path, quick_export: QuickExport, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A narrow model for images of 64 x 64 pixels that are scaled as by torch."""
    path = tmp_path_factory.mktemp("smaller") / "vgg16.onnx"
    quick_export(path, weights=keras_files / "headless.keras", scaling="torch")
    return path


@pytest.fixture(scope="module")
def torch_scaled_int8(torch_scaled: Path, calibration: Path) -> sparsefeat_export.QuantizeResult:
    return sparsefeat_export.quantize(
        torch_scaled, torch_scaled.with_name("int8.onnx"), calibration=calibration, views=12
    )


def test_pixels_of_another_scaling_are_exact_too(
    torch_scaled: Path, torch_scaled_int8: sparsefeat_export.QuantizeResult
) -> None:
    """Torch's deviations differ by channel; the border is the pixel value that is scaled to 0."""
    torch, exact, made = MODES["torch"], torch_scaled, torch_scaled_int8
    assert made.metadata["preprocessing"]["scaling"]["mode"] == "torch"
    image = find_images(None, lambda _: None)[0]
    images = views_of([image], (64, 96), torch, least=1, seed=2)
    levels = views_of([image], (64, 96), MODES["none"], least=1, seed=2)
    (pixels,) = run(made.path, ["images/counted"], images)
    np.testing.assert_array_equal(pixels[:, :, 1:-1, 1:-1].transpose(0, 2, 3, 1), levels)
    assert (pixels[0, :, 0] == np.array([[124], [116], [104]])).all()  # 255 * the means
    for layer in ("block1_conv1", "block3_conv3"):
        ours, theirs = (run(path, [layer], images)[0] for path in (made.path, exact))
        assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs), layer


def test_layers_are_their_rectified_pre_activations(
    small_int8: sparsefeat_export.QuantizeResult, small_vgg16: Path
) -> None:
    images = CAFFE.apply(probe_pixels(32, 32))
    for layer in ("block1_conv1", "block3_conv2", "block5_conv3"):
        names = [f"{layer}/pre", f"{layer}/nchw"]
        pre, rectified = run(small_int8.path, names, images)
        (exact,) = run(small_vgg16, names[:1], images)
        assert pre.min() < 0
        assert np.linalg.norm(pre - exact) < 0.2 * np.linalg.norm(exact)
        assert np.linalg.norm(np.maximum(pre, 0) - rectified) < 0.1 * np.linalg.norm(rectified)
        assert not rectified[pre < 0].any()


def test_metadata_describe_the_quantization_and_its_error(
    small_int8: sparsefeat_export.QuantizeResult, small_vgg16: Path
) -> None:
    before, after = read_metadata(small_vgg16), read_metadata(small_int8.path)
    assert after == small_int8.metadata
    assert after["precision"] == "int8"
    for key in ("layers", "weights", "certificate", "preprocessing"):
        assert after[key] == before[key]
    names = [layer["name"] for layer in before["layers"]]
    assert list(after["quantization"]["certificate"]) == names
    seen, held_out = (
        set(after["quantization"][key]["sha256"]) for key in ("calibration", "held_out")
    )
    assert (len(seen), len(held_out)) == (12, 4)
    assert not seen & held_out
    for old, new in zip(before["probe"], after["probe"], strict=True):
        assert old["expected"].keys() == new["expected"].keys()
        images = CAFFE.apply(probe_pixels(new["height"], new["width"]))
        (output,) = run(small_int8.path, ["block5_pool"], images)
        expected = new["expected"]["block5_pool"]
        assert np.allclose(output[0, 0, 0, expected["channels"]], expected["corner"])


def test_the_same_photographs_give_the_same_file_from_a_linked_model(
    torch_scaled_int8: sparsefeat_export.QuantizeResult,
    torch_scaled: Path,
    calibration: Path,
    tmp_path: Path,
) -> None:
    """The model consists of links to files with other names, as in download caches."""
    again = tmp_path / "int8.onnx"
    (tmp_path / "cache").mkdir()
    for name, blob in ((torch_scaled.name, "a1"), (f"{torch_scaled.name}.data", "b2")):
        shutil.copy(torch_scaled.with_name(name), tmp_path / "cache" / blob)
        (tmp_path / name).symlink_to(f"cache/{blob}")
    options = ["--calibration", str(calibration), "-o", str(again), "--views", "12", "--json"]
    done = subprocess.run(
        [*COMMAND, tmp_path / torch_scaled.name, *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == torch_scaled_int8.path.read_bytes()
    data = Path(f"{torch_scaled_int8.path}.data").read_bytes()
    assert Path(f"{again}.data").read_bytes() == data
    printed = json.loads(done.stdout)
    assert printed["quantization"] == torch_scaled_int8.metadata["quantization"]


def test_too_few_photographs_are_refused(small_vgg16: Path, tmp_path: Path) -> None:
    output = tmp_path / "int8.onnx"
    with pytest.raises(sparsefeat_export.ImagesError, match="expected at least 16"):
        sparsefeat_export.quantize(small_vgg16, output, calibration=SHIPPED)
    assert not list(tmp_path.iterdir())


def test_a_photograph_in_both_folders_is_refused(
    small_vgg16: Path, calibration: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        sparsefeat_export.ImagesError, match="among the calibration images and among the validation"
    ):
        sparsefeat_export.quantize(
            small_vgg16, tmp_path / "int8.onnx", calibration=calibration, validation=calibration
        )


def test_models_that_are_not_exported_float32_models_are_refused(
    small_int8: sparsefeat_export.QuantizeResult, calibration: Path, tmp_path: Path
) -> None:
    output = tmp_path / "again.onnx"
    with pytest.raises(sparsefeat_export.WeightsError, match="expected a float32 model"):
        sparsefeat_export.quantize(small_int8.path, output, calibration=calibration)
    with pytest.raises(sparsefeat_export.WeightsNotFoundError, match="no model at"):
        sparsefeat_export.quantize(tmp_path / "none.onnx", output, calibration=calibration)
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    with pytest.raises(sparsefeat_export.WeightsError, match="is a link that points to itself"):
        sparsefeat_export.quantize(tmp_path / "loop.onnx", output, calibration=calibration)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(sparsefeat_export.WeightsError, match="can't be read"):
        sparsefeat_export.quantize(tmp_path / "text.onnx", output, calibration=calibration)


def rewritten(source: Path, path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(source)
    change(model)
    path.write_bytes(sealed(model))
    return path


def described(model: onnx.ModelProto, change: Callable[[dict[str, Any]], object]) -> None:
    prop = model.metadata_props[0]
    metadata = json.loads(prop.value)
    change(metadata)
    prop.value = json.dumps(metadata)


def spoilt(model: onnx.ModelProto) -> None:
    kernel = next(one for one in model.graph.initializer if one.name == "block3_conv1/kernel")
    array = onnx.numpy_helper.to_array(kernel).copy()
    array[0, 0, 0, 0] = np.nan
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, kernel.name))


def strided(model: onnx.ModelProto) -> None:
    node = next(one for one in model.graph.node if one.output[0] == "block1_conv2/pre")
    strides = next(one for one in node.attribute if one.name == "strides")
    strides.ints[:] = [2, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: setattr(model.metadata_props[0], "value", "{"), "metadata that can't be"),
        (lambda model: setattr(model.metadata_props[0], "value", "[]"), "metadata that can't be"),
        (lambda model: described(model, lambda one: one.pop("precision")), "'precision'"),
        (
            lambda model: described(model, lambda one: one["layers"].pop()),
            "does not match its graph",
        ),
        (
            lambda model: described(
                model, lambda one: one["preprocessing"].update(size=[1 << 20, 1 << 20])
            ),
            "does not match its graph",
        ),
        (lambda model: model.metadata_props.pop(0), "not exported by sparsefeat"),
        (lambda model: model.graph.node.reverse(), "can't be read"),
        (spoilt, "block3_conv1 has weights that are not finite"),
        (strided, "does not start with two 3x3 convolutions"),
    ],
)
def test_damaged_models_are_refused(
    small_vgg16: Path,
    calibration: Path,
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], object],
    message: str,
) -> None:
    source = rewritten(small_vgg16, tmp_path / "damaged.onnx", change)
    with pytest.raises(sparsefeat_export.WeightsError, match=message) as caught:
        sparsefeat_export.quantize(source, tmp_path / "int8.onnx", calibration=calibration)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_missing_or_truncated_weights_are_refused(
    small_vgg16: Path, calibration: Path, tmp_path: Path
) -> None:
    source, data = tmp_path / "vgg16.onnx", tmp_path / "vgg16.onnx.data"
    shutil.copy(small_vgg16, source)
    whole = Path(f"{small_vgg16}.data").read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 0x40
    for content, message in (
        (None, "not beside it"),
        (whole[:-4096], "copy it again"),
        (flipped, "digest of the weights block5_conv3/bias does not match"),
    ):
        if content is not None:
            data.write_bytes(content)
        with pytest.raises(sparsefeat_export.WeightsError, match=message):
            sparsefeat_export.quantize(source, tmp_path / "int8.onnx", calibration=calibration)


@pytest.mark.parametrize("views", [0, -1, 257])
def test_a_number_of_views_out_of_range_is_refused(
    small_vgg16: Path, calibration: Path, tmp_path: Path, views: int
) -> None:
    with pytest.raises(sparsefeat_export.ImagesError, match="expected 1 to 256"):
        sparsefeat_export.quantize(
            small_vgg16, tmp_path / "int8.onnx", calibration=calibration, views=views
        )


def test_an_output_that_replaces_the_source_is_refused(
    small_vgg16: Path, calibration: Path, tmp_path: Path
) -> None:
    """Under any of its names: the weights of a renamed graph keep their former name."""
    source, data = tmp_path / "renamed.onnx", tmp_path / f"{small_vgg16.name}.data"
    shutil.copy(small_vgg16, source)
    shutil.copy(f"{small_vgg16}.data", data)
    (tmp_path / "link.onnx").symlink_to(source)
    (tmp_path / "hard.onnx").hardlink_to(source)
    before = source.read_bytes(), data.read_bytes()
    for output in ("renamed.onnx", "link.onnx", "hard.onnx", small_vgg16.name):
        with pytest.raises(sparsefeat_export.OutputError, match="write to another file"):
            sparsefeat_export.quantize(source, tmp_path / output, calibration=calibration)
    assert (source.read_bytes(), data.read_bytes()) == before


def test_a_model_with_its_top_keeps_dense_layers_in_float32(
    narrow_export: Callable[[str], Path], calibration: Path, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    passes: list[tuple[int, int]] = []
    result = sparsefeat_export.quantize(
        narrow_export("finetuned.keras"),
        path,
        calibration=calibration,
        views=1,
        progress=lambda done, total: passes.append((done, total)),
    )
    assert result.layers[-1].layer == "predictions"
    assert result.layers[-1].relative_l2 < 0.2
    graph = onnx.load(path, load_external_data=False).graph
    kinds = {one.name: one.data_type for one in graph.initializer}
    assert kinds["fc1/kernel"] == onnx.TensorProto.FLOAT
    # Progress ends at the announced total.
    assert passes == [(done, len(passes)) for done in range(1, len(passes) + 1)]
    assert passes


def test_split_deep_layers_get_ranges_beyond_the_values_seen(small_vgg16: Path) -> None:
    stages = read_stack(onnx.load(small_vgg16))
    images = views_of(find_images(None, lambda _: None)[:4], (64, 96), CAFFE, least=4, seed=0)
    convolutions = calibrate(stages, images, compensate=False)
    (coding,) = (one.coding for one in convolutions if one.name == "block5_conv1")
    (exact,) = run(small_vgg16, ["block5_conv1"], images)
    largest = exact.max(axis=(0, 1, 2))
    room = np.zeros(len(largest))
    np.add.at(room, coding.channel, LEVELS * coding.scales)
    assert (room >= 1.4 * largest).all()


def test_compensated_rounding_beats_rounding_to_nearest_on_held_out_photographs(
    vgg16: Path, tmp_path: Path
) -> None:
    shipped = find_images(None, lambda _: None)
    seen = views_of(shipped[:6], (112, 112), CAFFE, least=18, seed=0)
    held_out = views_of(shipped[6:], (112, 112), CAFFE, least=8, seed=1)
    model = onnx.load(vgg16)
    stages = read_stack(model)
    stages = stages[: 1 + [stage.name for stage in stages].index(COMPARED)]
    assert isinstance(stages[-1], Convolution)
    (exact,) = run(vgg16, [COMPARED], held_out)
    errors = []
    for compensate in (False, True):
        path = tmp_path / f"{compensate}.onnx"
        convolutions = calibrate(stages, seen, compensate=compensate)
        graph = quantized_graph(model, stages, convolutions, CAFFE, Path(f"{path}.data"))
        path.write_bytes(graph.SerializeToString())
        (output,) = run(path, [COMPARED], held_out)
        errors.append(float(np.linalg.norm(output - exact) / np.linalg.norm(exact)))
    nearest, compensated = errors
    assert compensated < 0.9 * nearest
    assert compensated < 0.03
