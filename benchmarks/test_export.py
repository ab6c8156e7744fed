"""Seconds of an export, and its memory over all processes."""

import sys
import time
from dataclasses import asdict
from pathlib import Path

import onnx
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sparsefeat_export.model_file import read_metadata

from .claims import Claim
from .conftest import MakeClaim
from .memory import peak_memory

LIMIT_GB = 3.5
MAX_SECONDS = 120

# The network with its top, with the certificate.
WHOLE = """
import sys, sparsefeat_export
sparsefeat_export.export(
    sys.argv[1], weights="random:0", top=True, channels_divisor=int(sys.argv[2])
)
"""

# As in tf2onnx' documentation, but without the top, which would need too much memory.
NAIVE = """
import sys
from sparsefeat_export.dependencies import quiet_tensorflow
quiet_tensorflow()
import keras, tensorflow as tf, tf2onnx
model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
outputs = keras.Model(model.inputs, [layer.output for layer in model.layers[1:]])
signature = (tf.TensorSpec((None, 224, 224, 3), tf.float32, name="images"),)
tf2onnx.convert.from_keras(outputs, input_signature=signature, output_path=sys.argv[1])
"""


def test_export_with_top_and_certificate(
    benchmark: BenchmarkFixture, claim: MakeClaim, tmp_path: Path
) -> None:
    """Without timing, a narrow network is exported."""
    output = tmp_path / "model.onnx"
    divisor = 1 if benchmark.enabled else 16
    begun = time.monotonic()
    command = [sys.executable, "-c", WHOLE, str(output), str(divisor)]
    peak = benchmark.pedantic(peak_memory, args=(command,))
    seconds = time.monotonic() - begun
    benchmark.extra_info["peak"] = asdict(peak)
    metadata = read_metadata(output)
    assert list(metadata["certificate"]["layers"]) == [one["name"] for one in metadata["layers"]]
    assert metadata["layers"][-1]["name"] == "predictions"
    n_bytes = output.with_name("model.onnx.data").stat().st_size
    assert n_bytes > (553e6 if divisor == 1 else 2e6)
    assert peak.rss_gb < LIMIT_GB
    claim(
        Claim(
            text="export of the whole network, certificate included",
            measured=seconds,
            bar=MAX_SECONDS,
            most=True,
            unit=" s",
        )
    )


def test_tf2onnx_without_top(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    if not benchmark.enabled:
        pytest.skip("takes gigabytes and half a minute, to measure what is not ours")
    output = tmp_path / "model.onnx"
    peak = benchmark.pedantic(peak_memory, args=([sys.executable, "-c", NAIVE, str(output)],))
    benchmark.extra_info["peak"] = asdict(peak)
    assert len(onnx.load(output).graph.output) == 18
