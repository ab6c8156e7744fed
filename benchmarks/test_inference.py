"""The network alone, on arrays in memory, by engine, precision, outputs and batch size.

`test_run` times each case by itself, and `test_compared` times the compared cases in turn.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.model import ModelFile, choose_layers

from .claims import Claim
from .conftest import MakeClaim, Models
from .engines import EXTRACTORS, KERAS, Run, check, keras_engine, ort_extractor
from .paired import Paired, rates

Float32 = NDArray[np.float32]
Images = Callable[[int], Float32]

OUTPUTS = ("block5_pool", "pools", "all")
# Batch size: rounds.
ROUNDS = {1: 10, 8: 4, 32: 2}
COMPARED = (("block5_pool", 1, 15), ("block5_pool", 8, 7), ("pools", 8, 5))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize by engine and batch; without timing, one small batch of each kind is enough."""
    timing = metafunc.config.getoption("benchmark_enable")
    if metafunc.function is test_run:
        metafunc.parametrize("way", [*KERAS, *EXTRACTORS])
        metafunc.parametrize("outputs", OUTPUTS if timing else ["block5_pool", "all"])
        metafunc.parametrize("batch_size", ROUNDS if timing else [2])
    if metafunc.function is test_compared:
        cases = COMPARED if timing else (("pools", 2, 1),)
        metafunc.parametrize(("outputs", "batch_size", "n_rounds"), cases)


def engine(models: Models, way: str, outputs: str, batch_size: int) -> Run:
    """Make the engine; skip the test if it isn't available here."""
    if way in KERAS:
        names = choose_layers(outputs, ModelFile.open(models.fp32).metadata.layers)
        return keras_engine(models.fp32, tuple(names), way).run
    try:
        return ort_extractor(models.of(way), outputs, way, batch_size=batch_size).run
    except (sparsefeat.ProviderError, sparsefeat.PrecisionError) as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module")
def expected(models: Models, images: Images) -> Callable[[str, int], dict[str, Float32]]:
    """Compute the expected outputs: float32 on the CPU provider."""

    def run(outputs: str, batch_size: int) -> dict[str, Float32]:
        return sparsefeat.Extractor(models.fp32, outputs).run(images(batch_size))

    return run


def test_run(
    benchmark: BenchmarkFixture,
    models: Models,
    images: Images,
    expected: Callable[[str, int], dict[str, Float32]],
    rounds: Callable[[int], int],
    way: str,
    outputs: str,
    batch_size: int,
) -> None:
    benchmark.group = f"{outputs}, batches of {batch_size}"
    batch = images(batch_size)
    run = engine(models, way, outputs, batch_size)
    check(way, run(batch), expected(outputs, batch_size))
    benchmark.pedantic(run, args=(batch,), rounds=rounds(ROUNDS.get(batch_size, 1)))
    if benchmark.stats is not None:
        benchmark.extra_info |= rates(benchmark.stats.stats.data, batch_size)


def test_compared(
    benchmark: BenchmarkFixture,
    models: Models,
    images: Images,
    expected: Callable[[str, int], dict[str, Float32]],
    rounds: Callable[[int], int],
    claim: MakeClaim,
    outputs: str,
    batch_size: int,
    n_rounds: int,
) -> None:
    """All engines in turn, relative to ours in float32 on the CPU provider."""
    batch = images(batch_size)
    answer = expected(outputs, batch_size)
    ways: dict[str, Callable[[], object]] = {}
    missing = {}
    for way in (*KERAS, *EXTRACTORS):
        try:
            run = engine(models, way, outputs, batch_size)
        except pytest.skip.Exception as exc:
            missing[way] = str(exc)
            continue
        check(way, run(batch), answer)
        ways[way] = partial(run, batch)
    paired = Paired(ways=ways)
    paired.warm_up()
    benchmark.pedantic(paired.round, rounds=rounds(n_rounds))
    benchmark.extra_info["ways"] = paired.figures(batch_size, against="onnxruntime-cpu")
    benchmark.extra_info["missing"] = missing
    for way in KERAS:
        ratio = paired.ratio("onnxruntime-cpu", way)
        claim(
            Claim.of_speeds(
                f"ONNX Runtime fp32 / {way}: {outputs}, batches of {batch_size}", ratio, 1
            )
        )
