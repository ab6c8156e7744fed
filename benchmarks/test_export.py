"""What an export needs: seconds, and memory summed over all its processes."""

import subprocess
import sys
import time
from pathlib import Path

import onnx
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sparsefeat_export.metadata import read_metadata

LIMIT_GB = 3.5
LIMIT_SECONDS = 120

# The network with its top, certificate included.
WHOLE = """
import sys, sparsefeat_export
sparsefeat_export.export(
    sys.argv[1], weights="random:0", top=True, channels_divisor=int(sys.argv[2])
)
"""

# What tf2onnx' documentation shows, without the top: with it, no ordinary machine has the memory.
NAIVE = """
import sys
from sparsefeat_export.quiet import quiet_tensorflow
quiet_tensorflow()
import keras, tensorflow as tf, tf2onnx
model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
outputs = keras.Model(model.inputs, [layer.output for layer in model.layers[1:]])
signature = (tf.TensorSpec((None, 224, 224, 3), tf.float32, name="images"),)
tf2onnx.convert.from_keras(outputs, input_signature=signature, output_path=sys.argv[1])
"""


def peaks(command: list[str]) -> tuple[float, float]:
    """Run a command; peak resident and proportional memory of it and its children, in GB."""
    rss_peak = pss_peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as root:
        while root.poll() is None:
            rss = pss = 0
            try:
                processes = [psutil.Process(root.pid)]
                processes += processes[0].children(recursive=True)
            except psutil.NoSuchProcess:
                break
            for process in processes:
                try:
                    memory = process.memory_full_info()
                except psutil.Error:  # it has just ended
                    continue
                rss, pss = rss + memory.rss, pss + memory.pss
            rss_peak, pss_peak = max(rss_peak, rss), max(pss_peak, pss)
            time.sleep(0.05)
    assert root.returncode == 0
    return rss_peak / 1e9, pss_peak / 1e9


def test_whole(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Where nothing is timed, a narrow network shows that this works."""
    output = tmp_path / "model.onnx"
    divisor = 1 if benchmark.enabled else 16
    begun = time.monotonic()
    command = [sys.executable, "-c", WHOLE, str(output), str(divisor)]
    rss, pss = benchmark.pedantic(peaks, args=(command,))
    seconds = time.monotonic() - begun
    benchmark.extra_info |= {"peak_rss_gb": rss, "peak_pss_gb": pss}
    metadata = read_metadata(output)
    assert list(metadata["certificate"]["layers"]) == [one["name"] for one in metadata["layers"]]
    assert metadata["layers"][-1]["name"] == "predictions"
    n_bytes = output.with_name("model.onnx.data").stat().st_size
    assert n_bytes > (553e6 if divisor == 1 else 2e6)
    assert rss < LIMIT_GB
    assert seconds < LIMIT_SECONDS


def test_naive_no_top(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    if not benchmark.enabled:
        pytest.skip("takes gigabytes and half a minute, to measure what is not ours")
    output = tmp_path / "model.onnx"
    rss, pss = benchmark.pedantic(peaks, args=([sys.executable, "-c", NAIVE, str(output)],))
    benchmark.extra_info |= {"peak_rss_gb": rss, "peak_pss_gb": pss}
    assert len(onnx.load(output).graph.output) == 18
