import json
import os
import shutil
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image

from sparsefeat.bench import ENGINES, Result, compare
from sparsefeat.bench.agreement import LIMITS
from sparsefeat.bench.process import WorkerProcess
from sparsefeat.errors import (
    BenchmarkError,
    InputError,
    LayerError,
    MissingDependencyError,
    ModelCorruptError,
    ModelNotFoundError,
    ProviderError,
)
from sparsefeat.model import ModelFile
from sparsefeat_export.model_file import write_model

SMALL: dict[str, Any] = {"size": (64, 64), "rounds": 2}
# Keras can't compute these, so outputs are compared with the CPU provider, and only the tests of
# TensorFlow wait for it to start.
PRE = SMALL | {"layers": "block5_conv2/pre,block5_conv3/pre"}


needs_torch = pytest.mark.skipif(not find_spec("torch"), reason="PyTorch is not installed")
TORCH = {"torch-eager", "torch-compile"}


@pytest.fixture(scope="module")
def result(small_vgg16: Path) -> Result:
    """A comparison of all engines that are available here, with TensorFlow."""
    return compare(small_vgg16, layers="pools", batch_sizes=[2], threads=1, **SMALL)


def test_all_available_engines_are_measured(result: Result) -> None:
    measured = [row.engine for row in result.rows()]
    assert measured == [name for name in ENGINES if name not in result.left_out]
    assert {"keras-predict", "tf-function", "tf-jit", "onnxruntime-cpu"} <= set(measured)
    assert "sparsefeat" in measured
    for name in TORCH - set(measured):
        says = "sparsefeat[torch]" if not find_spec("torch") else "torch.compile doesn't work"
        assert says in result.left_out[name]
    assert "sparsefeat quantize" in result.left_out["onnxruntime-cpu-int8"]
    if "CUDAExecutionProvider" not in str(result.engines):
        assert "sparsefeat[gpu]" in result.left_out["onnxruntime-cuda"]
    assert all(len(one.rounds) == 2 for one in result.measurements)
    assert [len(one.repeats_timed) for one in result.measurements if one.repeats_timed] == [2]
    assert not result.stopped


def test_engines_agree_within_the_limits_of_their_precision(result: Result) -> None:
    for row in result.rows():
        assert row.agreement.reference == "keras-predict"
        assert row.agreement.relative_l2 <= LIMITS[ENGINES[row.engine].precision][0]
        if ENGINES[row.engine].precision == "bf16":
            assert row.agreement.relative_l2 > 1e-4


def test_engines_have_the_precision_and_threads_of_their_names(result: Result) -> None:
    for name, facts in result.engines.items():
        assert facts["precision"] == ENGINES[name].precision
        if ENGINES[name].framework == "tensorflow":
            assert (facts["intra_op_threads"], facts["inter_op_threads"]) == (1, 1)
        elif ENGINES[name].framework == "pytorch":
            assert (facts["intra_op_threads"], facts["inter_op_threads"]) == (1, 1)
            assert facts["runs_on"].startswith("PyTorch 2")
        else:
            assert facts["probe_error"] < 3e-2
    assert "CPUExecutionProvider" in result.engines["onnxruntime-cpu"]["runs_on"]
    if "onnxruntime-openvino" in result.engines:
        options = result.engines["onnxruntime-openvino"]["provider_options"]["load_config"]
        assert '"INFERENCE_NUM_THREADS": "1"' in options
        assert "OpenVINOExecutionProvider" in result.engines["onnxruntime-openvino"]["runs_on"]


def test_waiting_engines_do_not_compute(result: Result) -> None:
    for one in result.measurements:
        assert one.idle_threads < 0.5, one.engine


def test_the_baseline_is_tensorflow_s_fastest(result: Result) -> None:
    rows = {row.engine: row for row in result.rows()}
    (baseline,) = {row.baseline for row in rows.values()}
    tensorflow = [row for name, row in rows.items() if ENGINES[name].framework == "tensorflow"]
    fastest = max(tensorflow, key=lambda row: row.images_per_second.median)
    assert fastest.engine == baseline
    assert rows[baseline].ratio is None
    verdicts = {row.ratio.verdict for row in rows.values() if row.ratio}
    assert verdicts == {"too few rounds"}


def test_everything_is_in_the_json(result: Result) -> None:
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["settings"]["layers"] == [f"block{n}_pool" for n in range(1, 6)]
    assert document["environment"]["limits"]
    assert document["left_out"] == result.left_out
    for row, raw in zip(document["rows"], document["measurements"], strict=True):
        assert row["engine"] == raw["engine"]
        rates = [2 * len(turn) / sum(turn) for turn in raw["rounds"]]
        assert row["images_per_second"] == pytest.approx(np.median(rates))
        assert row["seconds_p50"] == pytest.approx(np.median(np.concatenate(raw["rounds"])))
    assert list(result.frame()["engine"]) == [row.engine for row in result.rows()]


def test_tensorflow_is_left_out_for_pre_activations(small_vgg16: Path) -> None:
    layers = "block5_conv3/pre"
    with pytest.raises(LayerError, match="tf-jit can't return block5_conv3/pre"):
        compare(small_vgg16, layers=layers, engines="tf-jit", **SMALL)
    engines = "onnxruntime-cpu"
    found = compare(small_vgg16, layers=layers, engines=engines, batch_sizes=[1], **SMALL)
    assert found.rows()[0].agreement.reference == found.rows()[0].baseline == "onnxruntime-cpu"


@pytest.fixture
def jpeg_files(tmp_path: Path) -> Path:
    """Images, one with a width that is a multiple of 64 and one in grey, and two other files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    photograph = Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC)
    photograph.save(folder / "a.jpg")
    photograph.convert("L").resize((167, 109)).save(folder / "b.jpg", progressive=True)
    photograph.save(folder / "c.png")
    photograph.convert("CMYK").save(folder / "d.jpg")
    return folder


# At this size, TensorFlow and Pillow choose different nearest pixels of the first image.
FILES: dict[str, Any] = {"from_files": True, "size": (48, 48), "rounds": 1}


def test_all_loaders_of_files_give_the_same_features(small_vgg16: Path, jpeg_files: Path) -> None:
    """Keras is the reference even if it isn't timed; layers may be given in any order."""
    engines = ["tf-function", "sparsefeat"]
    told: list[str] = []
    found = compare(
        small_vgg16,
        [str(jpeg_files)],
        layers="block5_pool,block1_pool,block1_conv2",
        engines=engines,
        progress=lambda done, total, what: told.append(what),
        batch_sizes=[3],
        threads=1,
        **FILES,
    )
    assert set(found.engines) == set(engines)
    assert not any("keras-predict" in what for what in told)
    assert [row.engine for row in found.rows()] == engines
    assert found.settings["image_paths"] == ["a.jpg", "b.jpg"]
    for one, row in zip(found.measurements, found.rows(), strict=True):
        assert row.agreement.reference == "keras-predict"
        assert row.agreement.relative_l2 < 1e-5
        if row.engine == "sparsefeat":
            assert row.agreement.relative_l2 > 0
        assert one.images == 18
        (turn,) = one.rounds
        assert one.rates == pytest.approx([18 * len(turn) / sum(turn)])
        assert one.seconds == pytest.approx(np.array(turn) / 6)
    assert "tf.data" in found.engines["tf-function"]["label"]


@needs_torch
def test_pytorch_reads_files(small_vgg16: Path, jpeg_files: Path) -> None:
    found = compare(
        small_vgg16,
        [str(jpeg_files)],
        engines="torch-eager",
        layers="block5_conv2,block5_conv3/pre",
        batch_sizes=[1, 3],
        threads=1,
        **FILES,
    )
    assert [(row.engine, row.batch_size) for row in found.rows()] == [
        ("torch-eager", 1),
        ("torch-eager", 3),
    ]
    for row in found.rows():
        assert row.agreement.reference == "onnxruntime-cpu"
        assert 0 < row.agreement.relative_l2 < 1e-5
        assert row.agreement.zeros_agree > 0.9999


@needs_torch
def test_pytorch_takes_checked_weights_behind_hard_links(small_vgg16: Path, tmp_path: Path) -> None:
    model, data = tmp_path / "vgg16.onnx", tmp_path / f"{small_vgg16.name}.data"
    shutil.copy(small_vgg16, model)
    shutil.copy(small_vgg16.with_name(data.name), tmp_path / "copy")
    data.hardlink_to(tmp_path / "copy")
    np.save(tmp_path / "images.npy", np.zeros((1, 32, 32, 3), np.float32))
    options = {"model": str(model), "layers": ["block1_pool"], "threads": 1}
    options |= {"size": [32, 32], "batch_sizes": [1]}
    work = {"images": str(tmp_path / "images.npy")}

    def build() -> None:
        engine = ENGINES["torch-eager"]
        WorkerProcess(engine, options=options, work=work, folder=tmp_path).close()

    build()
    content = bytearray(data.read_bytes())
    content[3] ^= 0x40
    data.write_bytes(content)
    with pytest.raises(ModelCorruptError, match="are not those that were exported"):
        build()


@needs_torch
def test_pytorch_runs_the_dense_layers(small_vgg16_top: Path) -> None:
    layers = "block5_conv3/pre,flatten,fc1/pre,fc1,predictions"
    found = compare(
        small_vgg16_top, layers=layers, engines="torch-eager", batch_sizes=[2], rounds=1, threads=1
    )
    (row,) = found.rows()
    assert row.agreement.relative_l2 < 1e-5


@needs_torch
def test_without_a_compiler_torch_compile_is_left_out(
    small_vgg16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ProviderError, match=r"torch\.compile doesn't work here: .*compiler"):
        compare(small_vgg16, engines="torch-compile", **PRE)


def test_missing_pytorch_is_an_error_with_the_line_that_installs_it(
    small_vgg16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "raise ModuleNotFoundError('No module named torch', name='torch')"
    (tmp_path / "torch.py").write_text(absent)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(MissingDependencyError, match=r"is not installed.*sparsefeat\[torch\]"):
        compare(small_vgg16, engines="torch-eager", **PRE)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"from_files": True, "preprocess": "bilinear"}, InputError, "expected 'keras'"),
        ({"engines": "onnxruntime-tpu"}, InputError, "onnxruntime-openvino"),
        ({"engines": "onnxruntime-cpu-int8"}, ProviderError, "--int8"),
        (
            {"engines": "onnxruntime-cpu", "baseline": "tf-jit"},
            InputError,
            "baseline 'tf-jit'",
        ),
        ({"batch_sizes": [0, 8]}, InputError, "batch size is 0"),
        ({"batch_sizes": [4097]}, InputError, "batch size is 4097, .* from 1 to 4,096"),
        ({"batch_sizes": []}, InputError, "batch size is 0"),
        ({"rounds": 0}, InputError, "rounds is 0"),
        ({"seconds": 0.0}, InputError, "seconds is 0"),
        ({"threads": 0}, InputError, "threads is 0"),
        ({"layers": "block9"}, LayerError, "block9"),
        ({"size": (8, 8)}, InputError, "at least 32x32"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    small_vgg16: Path, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    told: list[str] = []
    with pytest.raises(error, match=says):
        compare(
            small_vgg16, progress=lambda done, total, what: told.append(what), **(SMALL | options)
        )
    assert told == []
    with pytest.raises(ModelNotFoundError):
        compare("nowhere.onnx")


def test_int8_needs_an_int8_model_of_the_same_weights(small_vgg16: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected an int8"):
        compare(small_vgg16, int8=small_vgg16)
    data = small_vgg16.with_name(f"{small_vgg16.name}.data")
    (tmp_path / data.name).symlink_to(data)
    model = onnx.load(small_vgg16, load_external_data=False)
    metadata = ModelFile.open(small_vgg16).metadata
    weights = msgspec.structs.replace(metadata.weights, sha256="0" * 64)
    for name, changed in (("other", {"weights": weights}), ("same", {})):
        described = msgspec.structs.replace(metadata, precision="int8", **changed)
        write_model(tmp_path / f"{name}.onnx", model, msgspec.to_builtins(described))
    with pytest.raises(InputError, match="was not made from"):
        compare(small_vgg16, int8=tmp_path / "other.onnx")
    with pytest.raises(InputError, match="int8 model with --int8"):
        compare(tmp_path / "same.onnx")


def test_outputs_in_another_order_are_an_error(
    small_vgg16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = WorkerProcess.ask

    def turned(self: WorkerProcess, **command: Any) -> dict[str, Any]:
        answer = real(self, **command)
        if command.get("do") == "answer" and self.engine.name == "onnxruntime-cpu":
            answer["layers"].reverse()
        return answer

    monkeypatch.setattr(WorkerProcess, "ask", turned)
    says = "onnxruntime-cpu returns the layers block5_conv3/pre, block5_conv2/pre"
    with pytest.raises(BenchmarkError, match=says):
        compare(small_vgg16, engines="onnxruntime-cpu", **PRE)


def test_a_named_engine_that_is_not_available_is_an_error(small_vgg16: Path) -> None:
    with pytest.raises(ProviderError, match="cuda"):
        compare(small_vgg16, engines="onnxruntime-cuda", **SMALL)


def test_without_tensorflow_the_cpu_provider_is_the_reference(
    small_vgg16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')"
    (tmp_path / "tensorflow.py").write_text(absent)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(MissingDependencyError, match=r"sparsefeat\[cpu,export\]"):
        compare(small_vgg16, engines="tf-jit", **SMALL)
    found = compare(small_vgg16, engines="onnxruntime-cpu", batch_sizes=[1], **SMALL)
    assert found.rows()[0].agreement.reference == "onnxruntime-cpu"


def test_wrong_outputs_are_an_error(small_vgg16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "fp32", (-1.0, 0.0))
    with pytest.raises(BenchmarkError, match="leave the engine out"):
        compare(small_vgg16, engines="onnxruntime-cpu", **PRE)


def test_a_stopped_comparison_has_the_finished_rounds(small_vgg16: Path) -> None:
    stop = threading.Event()

    def report(done: int, total: int, what: str) -> None:
        if done == 2:
            stop.set()

    options: dict[str, Any] = PRE | {"rounds": 50}
    found = compare(small_vgg16, engines="onnxruntime-cpu", progress=report, stop=stop, **options)
    assert found.stopped
    assert [len(one.rounds) for one in found.measurements] == [3]  # the current turn is finished
    nothing = compare(small_vgg16, stop=stop, **SMALL)
    assert nothing.stopped
    assert nothing.rows() == ()
