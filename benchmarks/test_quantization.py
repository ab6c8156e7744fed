"""int8 as `sparsefeat quantize` writes it, compared with VGG16 in plain int8.

The other graph is what `onnxruntime.quantization.quantize_static` makes of the same model: QDQ,
weights per channel, activations uint8 from their extremes, the first convolution too. Rounds
alternate, because the ratio of two times taken minutes apart says little on a shared machine.

    pytest benchmarks/test_quantization.py --benchmark-enable

prints the ratio for each provider.
"""

import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.runtime import PROVIDERS, configure_session
from sparsefeat.system.threads import available_threads
from sparsefeat_export.graph import drop_unread
from sparsefeat_export.images import find_images
from sparsefeat_export.quantization.calibration import calibrate
from sparsefeat_export.quantization.graph import quantized_graph
from sparsefeat_export.quantization.images import views_of
from sparsefeat_export.quantization.stack import read_stack
from sparsefeat_export.scaling import MODES

LAYER = "block5_pool"
N_CALIBRATION = 4  # images; the quality of the features isn't measured here
WARM_UP, ROUNDS = 2, 20


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: NDArray[np.float32]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self._images, None)
        return None if image is None else {"images": image[np.newaxis]}


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    """Images, float32 (8, 224, 224, 3)."""
    return views_of(
        find_images(None, lambda _: None)[:8], (224, 224), MODES["caffe"], least=8, seed=0
    )


def ours(exact: Path, images: NDArray[np.float32], path: Path) -> Path:
    """Write the graph of `quantize`, with weights rounded to nearest, which is faster to make."""
    model = onnx.load(exact)
    stages = read_stack(model)
    convolutions = calibrate(stages, images[:N_CALIBRATION], compensate=False)
    graph = quantized_graph(model, stages, convolutions, MODES["caffe"], Path(f"{path}.data"))
    keep_layer(graph)
    path.write_bytes(graph.SerializeToString())
    return path


def plain(exact: Path, images: NDArray[np.float32], path: Path) -> Path:
    """Write the graph with everything in int8."""
    model = onnx.load(exact)
    keep_layer(model)
    quantize_static(
        model,
        path,
        _Reader(images[:N_CALIBRATION]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


def keep_layer(model: onnx.ModelProto) -> None:
    """Cut a graph down to the layer that is timed."""
    (output,) = (one for one in model.graph.output if one.name == LAYER)
    del model.graph.output[:]
    model.graph.output.append(output)
    drop_unread(model.graph)


def session(path: Path, provider: str) -> onnxruntime.InferenceSession:
    """Create a session as the engine does."""
    setup = configure_session(PROVIDERS[provider], precision="int8", threads=available_threads())
    return onnxruntime.InferenceSession(
        path, sess_options=setup.settings, providers=setup.providers, enable_fallback=0
    )


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_speed_relative_to_plain_int8(
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    images: NDArray[np.float32],
    provider: str,
) -> None:
    """The ratio of speeds is the median over rounds."""
    exact: Path = request.getfixturevalue("vgg16" if benchmark.enabled else "small_vgg16")
    batch = images if benchmark.enabled else images[:2]
    try:
        sessions = {
            make.__name__: session(
                make(exact, images, tmp_path / f"{make.__name__}.onnx"), provider
            )
            for make in (plain, ours)
        }
    except sparsefeat.ProviderError as exc:
        pytest.skip(str(exc))
    expected = sparsefeat.Extractor(exact, LAYER).run(batch)[LAYER].astype(np.float64)
    for name, one in sessions.items():
        (values,) = one.run([LAYER], {"images": batch})
        error = np.linalg.norm(values - expected) / np.linalg.norm(expected)
        assert 1e-4 < error < 0.25, "int8 differs from float32, but not by much"
        benchmark.extra_info[f"{name}_relative_error"] = float(error)
    seconds: dict[str, list[float]] = {name: [] for name in sessions}

    def alternate() -> None:
        for name in sorted(sessions, reverse=len(seconds["ours"]) % 2 == 1):
            start = time.perf_counter()
            sessions[name].run([LAYER], {"images": batch})
            seconds[name].append(time.perf_counter() - start)

    if benchmark.enabled:
        benchmark.pedantic(alternate, rounds=ROUNDS, warmup_rounds=WARM_UP)
    else:
        benchmark(alternate)
    times = {name: np.array(each[-ROUNDS:]) for name, each in seconds.items()}
    for name, each in times.items():
        benchmark.extra_info[f"{name}_images_per_second"] = len(batch) / float(np.median(each))
    ratio = benchmark.extra_info["speed"] = float(np.median(times["plain"] / times["ours"]))
    if benchmark.enabled:
        with capsys.disabled():
            sys.stdout.write(
                f"\n{provider}: {ratio:.2f} of the speed of plain int8, {ROUNDS} rounds\n"
            )
