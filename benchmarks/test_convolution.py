"""Winograd's convolutions compared with direct ones: single layers, the network, and images."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.model import ModelFile, choose_layers
from sparsefeat_kernels import choose_variant

from .claims import Claim
from .conftest import MakeClaim, Models
from .engines import KERAS, keras_engine
from .paired import Paired
from .photographs import Photographs

Float32 = NDArray[np.float32]

WAYS = ("direct", "winograd")
BATCH = 8
FEW = 9  # images without timing: one full batch and one that isn't full

# Outputs, batch size, rounds, and the claimed speed relative to direct convolutions.
NETWORK = (
    ("block5_pool", 1, 15, None),
    ("block5_pool", 8, 9, 2.0),
    ("pools", 1, 15, 1.4),
    ("pools", 8, 9, 1.9),
    ("all", 4, 9, 1.5),
)
AGAINST_TENSORFLOW = {1: 1.6, 8: 2.0}  # its fastest engine, block5_pool
EXTRACTION = 1.8
OF_THE_BARE_NETWORK = 0.92
AVX2 = 1.5
AVX2_ROUNDS = 9


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by outputs and batch size; without timing, one small batch is enough."""
    if metafunc.function is test_network:
        timing = metafunc.config.getoption("benchmark_enable")
        cases = NETWORK if timing else (("pools", 2, 1, None),)
        metafunc.parametrize(("outputs", "batch_size", "n_rounds", "bar"), cases)


def test_network(
    benchmark: BenchmarkFixture,
    models: Models,
    images: Callable[[int], Float32],
    rounds: Callable[[int], int],
    claim: MakeClaim,
    outputs: str,
    batch_size: int,
    n_rounds: int,
    bar: float | None,
) -> None:
    """The network alone, on arrays in memory, compared with ONNX Runtime and TensorFlow."""
    batch = images(batch_size)
    extractors = {
        way: sparsefeat.Extractor(models.fp32, outputs, convolution=way, batch_size=batch_size)  # type: ignore[arg-type]
        for way in WAYS
    }
    answer = extractors["direct"].run(batch)
    for layer, values in extractors["winograd"].run(batch).items():
        exact = answer[layer].astype(np.float64)
        assert np.linalg.norm(values - exact) < 5e-6 * np.linalg.norm(exact)
        assert ((values > 0) == (exact > 0)).mean() > 0.99999
    ways: dict[str, Callable[[], object]] = {
        way: partial(extractor.run, batch, check=False) for way, extractor in extractors.items()
    }
    if outputs == "block5_pool":
        names = choose_layers(outputs, ModelFile.open(models.fp32).metadata.layers)
        for way in KERAS:
            ways[way] = partial(keras_engine(models.fp32, tuple(names), way).run, batch)
    paired = Paired(ways=ways)
    paired.warm_up()
    benchmark.pedantic(paired.round, rounds=rounds(n_rounds))
    benchmark.extra_info["ways"] = paired.figures(batch_size, against="direct")
    claims = {"direct": bar}
    if outputs == "block5_pool":
        rates = benchmark.extra_info["ways"]
        fastest = max(KERAS, key=lambda way: float(rates[way]["images_per_second"]))
        claims[fastest] = AGAINST_TENSORFLOW.get(batch_size)
    for other, least in claims.items():
        if least is not None:
            ratio = paired.ratio("winograd", other)
            claim(
                Claim.of_speeds(
                    f"winograd / {other}: {outputs}, batches of {batch_size}", ratio, least
                )
            )


def test_extraction(
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
    models: Models,
    photographs: Photographs,
    images: Callable[[int], Float32],
    rounds: Callable[[int], int],
    timing: bool,
    claim: MakeClaim,
    tmp_path: Path,
) -> None:
    """From JPEG files to a store, compared with direct convolutions and with the network alone."""
    count = request.config.getoption("images") if timing else FEW
    samples = sparsefeat.list_images([photographs.take(count)])
    ready = images(count)
    extractors = {
        way: sparsefeat.Extractor(models.fp32, convolution=way, batch_size=BATCH)  # type: ignore[arg-type]
        for way in WAYS
    }

    def extract(way: str) -> None:
        folder = tmp_path / f"{way}-{len(list(tmp_path.iterdir()))}"
        sparsefeat.extract(samples, folder, model=extractors[way])

    def bare() -> None:
        extractors["winograd"].run(ready, check=False)

    ways: dict[str, Callable[[], object]] = {way: partial(extract, way) for way in WAYS}
    ways["bare"] = bare
    paired = Paired(ways=ways)
    paired.warm_up()
    benchmark.pedantic(paired.round, rounds=rounds(5))
    benchmark.extra_info["ways"] = paired.figures(count, against="direct")
    bars = (("direct", EXTRACTION), ("bare", OF_THE_BARE_NETWORK))
    for other, least in bars:
        ratio = paired.ratio("winograd", other)
        claim(Claim.of_speeds(f"extract to a store, winograd / {other}", ratio, least))


@pytest.mark.skipif(choose_variant() not in ("avx512", "avx2"), reason="needs AVX2")
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_layers_with_avx2_only(
    benchmark: BenchmarkFixture,
    rounds: Callable[[int], int],
    timing: bool,
    claim: MakeClaim,
    tmp_path: Path,
) -> None:
    """Single layers on one thread, compared with oneDNN's direct ones, both with AVX2 only."""
    if not timing:
        pytest.skip("compiling takes ten seconds, and tests/kernels/test_winograd.py does it too")
    environment = {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+popcnt",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    script = Path(__file__).with_name("avx2_layers.py")

    def run() -> str:
        return subprocess.run(
            [sys.executable, script, str(rounds(AVX2_ROUNDS))],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    layers = json.loads(benchmark.pedantic(run))
    benchmark.extra_info["seconds"] = layers
    for layer, seconds in layers.items():
        ratios = np.divide(seconds["direct"], seconds["winograd"])
        low, middle, high = (float(value) for value in np.percentile(ratios, [25, 50, 75]))
        claim(
            Claim(
                text=f"winograd / oneDNN's direct, AVX2 only, one thread: {layer}",
                measured=middle,
                spread=(low, high),
                bar=AVX2,
                unit="x",
            )
        )
