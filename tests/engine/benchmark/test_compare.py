import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from sparsefeat.benchmark import ENGINES, Result, compare
from sparsefeat.benchmark import process as process_module
from sparsefeat.benchmark.agreement import LIMITS
from sparsefeat.errors import (
    BenchmarkError,
    InputError,
    LayerError,
    MissingDependencyError,
    ModelNotFoundError,
    ProviderError,
)
from sparsefeat.model import ModelFile
from sparsefeat_export.metadata import write_model

SMALL: dict[str, Any] = {"size": (64, 64), "rounds": 2}
# Keras can't give these: the CPU provider is what answers are compared with, and no test but
# those about TensorFlow waits for it to start.
PRE = SMALL | {"layers": "block5_conv2/pre,block5_conv3/pre"}


@pytest.fixture(scope="module")
def result(small_vgg16: Path) -> Result:
    """All engines that can be had here, TensorFlow among them."""
    return compare(small_vgg16, layers="pools", batch_sizes=[2], threads=1, **SMALL)


def test_all_that_can_be_had_is_measured(result: Result) -> None:
    measured = [row.engine for row in result.rows()]
    assert measured == [name for name in ENGINES if name not in result.left_out]
    assert {"keras-predict", "tf-function", "tf-jit", "ort-cpu"} <= set(measured)
    assert "sparsefeat quantize" in result.left_out["ort-cpu-int8"]
    if "CUDAExecutionProvider" not in str(result.engines):
        assert "sparsefeat[gpu]" in result.left_out["ort-cuda"]
    assert all(len(one.rounds) == 2 for one in result.measurements)
    assert [len(one.again) for one in result.measurements if one.again] == [2]
    assert not result.stopped


def test_engines_compute_the_same(result: Result) -> None:
    for row in result.rows():
        assert row.agreement.reference == "keras-predict"
        assert row.agreement.relative_l2 <= LIMITS[ENGINES[row.engine].precision][0]
        if ENGINES[row.engine].precision == "bf16":
            assert row.agreement.relative_l2 > 1e-4


def test_engines_are_what_they_are_called(result: Result) -> None:
    for name, facts in result.engines.items():
        assert facts["precision"] == ENGINES[name].precision
        if ENGINES[name].framework == "tensorflow":
            assert (facts["intra_op_threads"], facts["inter_op_threads"]) == (1, 1)
        else:
            assert facts["probe_error"] < 3e-2
    assert "CPUExecutionProvider" in result.engines["ort-cpu"]["runs_on"]
    if "ort-openvino" in result.engines:
        options = result.engines["ort-openvino"]["provider_options"]["load_config"]
        assert '"INFERENCE_NUM_THREADS": "1"' in options
        assert "OpenVINOExecutionProvider" in result.engines["ort-openvino"]["runs_on"]


def test_who_waits_does_not_compute(result: Result) -> None:
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


def test_pre_activations_leave_tensorflow_out(small_vgg16: Path) -> None:
    layers = "block5_conv3/pre"
    with pytest.raises(LayerError, match="tf-jit can't give block5_conv3/pre"):
        compare(small_vgg16, layers=layers, engines="tf-jit", **SMALL)
    engines = "ort-cpu"
    found = compare(small_vgg16, layers=layers, engines=engines, batch_sizes=[1], **SMALL)
    assert found.rows()[0].agreement.reference == found.rows()[0].baseline == "ort-cpu"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"engines": "ort-tpu"}, InputError, "ort-openvino"),
        ({"engines": "ort-cpu-int8"}, ProviderError, "--int8"),
        ({"engines": "ort-cpu", "baseline": "tf-jit"}, InputError, "'tf-jit' is not among"),
        ({"batch_sizes": [0, 8]}, InputError, "batch size is 0"),
        ({"batch_sizes": []}, InputError, "batch size is 0"),
        ({"rounds": 0}, InputError, "rounds is 0"),
        ({"seconds": 0.0}, InputError, "seconds is 0"),
        ({"threads": 0}, InputError, "threads is 0"),
        ({"layers": "block9"}, LayerError, "block9"),
        ({"size": (8, 8)}, InputError, "at least 32x32"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    small_vgg16: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    monkeypatch.setattr(process_module, "subprocess", None)
    with pytest.raises(error, match=says):
        compare(small_vgg16, **(SMALL | options))
    with pytest.raises(ModelNotFoundError):
        compare("nowhere.onnx")


def test_int8_takes_an_int8_model_of_the_same_weights(small_vgg16: Path, tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match="was not made of"):
        compare(small_vgg16, int8=tmp_path / "other.onnx")
    with pytest.raises(InputError, match="--int8 beside it"):
        compare(tmp_path / "same.onnx")


def test_engines_are_never_compared_with_themselves_alone(small_vgg16: Path) -> None:
    """Keras answers even where it isn't timed; and layers come in the order of the network."""
    told: list[str] = []
    found = compare(
        small_vgg16,
        layers="block1_pool,block1_conv2",
        engines="ort-cpu",
        report=lambda done, total, what: told.append(what),
        batch_sizes=[1],
        **SMALL,
    )
    (row,) = found.rows()
    assert row.agreement.reference == "keras-predict"
    assert row.agreement.relative_l2 > 0
    assert set(found.engines) == {"ort-cpu"}
    assert not any("keras-predict" in what for what in told)


def test_layers_in_another_order_are_an_error(
    small_vgg16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process_module.WorkerProcess.ask

    def turned(self: process_module.WorkerProcess, **command: Any) -> dict[str, Any]:
        answer = real(self, **command)
        if command.get("do") == "answer" and self.engine.name == "ort-cpu":
            answer["layers"].reverse()
        return answer

    monkeypatch.setattr(process_module.WorkerProcess, "ask", turned)
    says = "ort-cpu gives the layers block5_conv3/pre, block5_conv2/pre"
    with pytest.raises(BenchmarkError, match=says):
        compare(small_vgg16, engines="ort-cpu", **PRE)


def test_an_engine_that_was_named_and_cannot_be_had(small_vgg16: Path) -> None:
    with pytest.raises(ProviderError, match="cuda"):
        compare(small_vgg16, engines="ort-cuda", **SMALL)


def test_tensorflow_that_is_not_installed(
    small_vgg16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')"
    (tmp_path / "tensorflow.py").write_text(absent)
    python_path = process_module._python_path()
    monkeypatch.setattr(process_module, "_python_path", lambda: f"{tmp_path}:{python_path}")
    with pytest.raises(MissingDependencyError, match=r"sparsefeat\[cpu,export\]"):
        compare(small_vgg16, engines="tf-jit", **SMALL)
    found = compare(small_vgg16, engines="ort-cpu", batch_sizes=[1], **SMALL)
    assert found.rows()[0].agreement.reference == "ort-cpu"


def test_wrong_answers_are_an_error_and_no_row(
    small_vgg16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "fp32", (-1.0, 0.0))
    with pytest.raises(BenchmarkError, match="its speed means nothing"):
        compare(small_vgg16, engines="ort-cpu", **PRE)


def test_stopped_early_it_gives_what_there_is(small_vgg16: Path) -> None:
    stop = threading.Event()

    def report(done: int, total: int, what: str) -> None:
        if done == 2:
            stop.set()

    options: dict[str, Any] = PRE | {"rounds": 50}
    found = compare(small_vgg16, engines="ort-cpu", report=report, stop=stop, **options)
    assert found.stopped
    assert [len(one.rounds) for one in found.measurements] == [3]  # the turn in hand is ended
    nothing = compare(small_vgg16, stop=stop, **SMALL)
    assert nothing.stopped
    assert nothing.rows() == ()
