"""Every provider gives the same layers, poolings, sizes and cuts in every precision."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from skimage import data

from sparsefeat.errors import PrecisionError, ProviderError
from sparsefeat.images import normalize
from sparsefeat.model import ModelFile, choose_layers, cut
from sparsefeat.model.metadata import Metadata
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.runtime import openvino
from sparsefeat.runtime.precision import BF16_FLAGS
from sparsefeat.runtime.probe import probe_input
from sparsefeat.system.environment import first_processor
from sparsefeat_export.model_file import write_model

Float32 = NDArray[np.float32]

needs_plugin = pytest.mark.openvino
needs_bf16 = pytest.mark.skipif(
    BF16_FLAGS.isdisjoint(first_processor().get("flags", "").split()),
    reason="this processor has no bfloat16 arithmetic",
)
FAST = [
    pytest.param("openvino", "fp32", 1e-5, marks=needs_plugin),
    pytest.param("openvino", "bf16", 1.5e-2, marks=[needs_plugin, needs_bf16]),
]


def photographs(size: int) -> Float32:
    crops = [data.astronaut()[:size, :size], data.astronaut()[-size:, -size:]]
    return normalize(np.stack([*crops, data.coffee()[100 : 100 + size, 100 : 100 + size]]))


def relative(got: Float32, expected: Float32) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self) -> None:
        self._images = iter([*photographs(224), *probe_input(224, 224)])

    def get_next(self) -> dict[str, Float32] | None:
        image = next(self._images, None)
        return None if image is None else {"images": image[None]}


@pytest.fixture(scope="module")
def int8(small_vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quantize the small model plainly, with a probe of its own values."""
    path = tmp_path_factory.mktemp("int8") / "vgg16-int8.onnx"
    quantize_static(
        str(small_vgg16),
        str(path),
        _Calibration(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "MaxPool"],
        use_external_data_format=True,
    )
    model = onnx.load(str(path), load_external_data=False)
    metadata = ModelFile.open(small_vgg16).metadata
    _describe(model, path, metadata)
    file = ModelFile.open(path)
    whole = cut(file, choose_layers("all,*/pre", metadata.layers))
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(path.parent)
    )
    session = onnxruntime.InferenceSession(
        whole.model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    probes = []
    for probe in metadata.probe:
        image = probe_input(probe.height, probe.width)
        values = session.run(list(whole.tensors.values()), {"images": image})
        expected = {}
        for name, value in zip(whole.tensors, values, strict=True):
            telling = value[..., list(probe.expected[name].channels)]
            expected[name] = msgspec.structs.replace(
                probe.expected[name],
                corner=tuple(telling[0, 0, 0].tolist()),
                avg=tuple(telling.mean((0, 1, 2)).tolist()),
                max=tuple(telling.max((0, 1, 2)).tolist()),
            )
        probes.append(msgspec.structs.replace(probe, expected=expected))
    _describe(model, path, msgspec.structs.replace(metadata, probe=tuple(probes)))
    return path


def _describe(model: onnx.ModelProto, path: Path, metadata: Metadata) -> None:
    metadata = msgspec.structs.replace(
        metadata, precision="int8", quantization={"calibration": "min-max"}
    )
    write_model(path, model, msgspec.to_builtins(metadata))


@pytest.mark.parametrize(("provider", "asked", "limit"), FAST)
@pytest.mark.parametrize("options", [{}, {"pool": "avg"}, {"pool": "max"}, {"size": (160, 160)}])
def test_all_layers_of_a_small_model_agree(
    small_vgg16: Path, provider: str, asked: Any, limit: float, options: dict[str, Any]
) -> None:
    images = photographs(160)
    expected = Extractor(small_vgg16, "all,*/pre", **options).run(images)
    extractor = Extractor(
        small_vgg16, "all,*/pre", provider=provider, precision=asked, batch_size=2, **options
    )
    assert extractor.provider == "OpenVINOExecutionProvider"
    assert extractor.precision == extractor.settings["model"]["precision"] == asked
    if "avg" in options.values():
        limit = max(limit, 1e-4)  # averages of pre-activations, whose signs cancel out
    for name, values in extractor.run(images).items():
        assert relative(values, expected[name]) <= limit, name


@pytest.mark.parametrize(("provider", "asked", "limit"), FAST)
def test_layers_of_a_model_with_its_top_agree(
    small_vgg16_top: Path, provider: str, asked: Any, limit: float
) -> None:
    images = photographs(224)
    expected = Extractor(small_vgg16_top, "fc2,predictions,fc1/pre").run(images)
    got = Extractor(
        small_vgg16_top, "fc2,predictions,fc1/pre", provider=provider, precision=asked
    ).run(images)
    for name, values in got.items():
        assert relative(values, expected[name]) <= 2 * limit, name


@needs_plugin
def test_openvino_computes_float32_in_float32(vgg16: Path) -> None:
    expected = Extractor(vgg16, "pools").run(photographs(224))
    got = Extractor(vgg16, "pools", provider="openvino").run(photographs(224))
    for name, values in got.items():
        assert relative(values, expected[name]) < 1e-5, name


@needs_plugin
@needs_bf16
def test_the_error_of_bf16_is_within_its_range(vgg16: Path) -> None:
    expected = Extractor(vgg16, "pools").run(photographs(224))
    extractor = Extractor(vgg16, "pools", provider="openvino", precision="bf16")
    errors = {
        name: relative(values, expected[name])
        for name, values in extractor.run(photographs(224)).items()
    }
    assert 1e-4 < min(errors.values()) < max(errors.values()) < 1.2e-2
    assert 1e-4 < extractor.probe_error < 1.2e-2
    assert extractor.provenance["probe_error"] == extractor.probe_error


@needs_plugin
@needs_bf16
@pytest.mark.parametrize("layers", ["block1_conv1", "block1_pool", "block5_pool", "all,*/pre"])
@pytest.mark.parametrize("pool", ["none", "avg", "max"])
def test_float32_instead_of_bf16_and_bf16_instead_of_float32_are_detected(
    vgg16: Path, monkeypatch: pytest.MonkeyPatch, layers: str, pool: Any
) -> None:
    options: dict[str, Any] = {"provider": "openvino", "pool": pool, "layers": layers}
    monkeypatch.setitem(openvino.HINTS, "fp32", "bf16")
    with pytest.raises(PrecisionError, match="computes in a lower precision"):
        Extractor(vgg16, **options)
    monkeypatch.setitem(openvino.HINTS, "bf16", "f32")
    with pytest.raises(PrecisionError, match="computes in a higher precision"):
        Extractor(vgg16, precision="bf16", **options)


@needs_plugin
def test_missing_bf16_is_an_error_even_if_the_system_does_not_describe_the_processor(
    vgg16: Path, tmp_path: Path
) -> None:
    """OpenVINO then finds no bfloat16, and no other precision is used instead."""
    program = (
        "import pathlib, sparsefeat\n"
        "from sparsefeat.system import environment\n"
        f"environment.CPUINFO = pathlib.Path({str(tmp_path / 'none')!r})\n"
        f"try: sparsefeat.Extractor({str(vgg16)!r}, provider='openvino', precision='bf16')\n"
        "except sparsefeat.ProviderError as exc: print(exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("provider", ["cpu", pytest.param("openvino", marks=needs_plugin), "auto"])
@pytest.mark.parametrize("options", [{}, {"pool": "avg"}, {"size": (160, 160)}])
def test_an_int8_model_is_computed_in_int8(
    int8: Path, small_vgg16: Path, provider: str, options: dict[str, Any]
) -> None:
    images = photographs(160)
    reference = Extractor(int8, "all,*/pre", **options).run(images)
    exact = Extractor(small_vgg16, "all,*/pre", **options).run(images)
    extractor = Extractor(int8, "all,*/pre", provider=provider, **options)
    assert extractor.precision == "int8"
    for name, values in extractor.run(images).items():
        assert relative(values, reference[name]) < 5e-2, name
        assert 1e-3 < relative(values, exact[name]) < 0.3, name


def test_settings_identify_an_int8_model(int8: Path, small_vgg16: Path) -> None:
    settings = Extractor(int8).settings["model"]
    assert settings["precision"] == "int8"
    assert len(settings["quantization_sha256"]) == 64
    assert "quantization_sha256" not in Extractor(small_vgg16).settings["model"]


def test_auto_reports_its_choice(small_vgg16: Path) -> None:
    extractor = Extractor(small_vgg16, provider="auto")
    assert extractor.precision == "fp32"
    if extractor.provider == "CPUExecutionProvider":
        assert "sparsefeat[gpu]" in extractor.unavailable["cuda"]
    else:
        assert extractor.provider == "CUDAExecutionProvider"
    assert not Extractor(small_vgg16).unavailable


def test_the_cpu_provider_refuses_bf16(small_vgg16: Path) -> None:
    with pytest.raises(ProviderError, match="--provider openvino"):
        Extractor(small_vgg16, precision="bf16")
