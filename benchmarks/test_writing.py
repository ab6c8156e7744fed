"""The cost of writing the store: the same images with and without it."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.images import list_images

from .claims import Claim
from .conftest import MakeClaim, Models
from .paired import Paired
from .photographs import Photographs

BATCH = 8
PHOTOGRAPHS = 48
ROUNDS = 3
BARS = {"block5_pool": 1.03, "pools": 1.15}  # relative to the seconds without writing


def extract(extractor: sparsefeat.Extractor, folder: Path) -> int:
    """Extract and encode, without writing."""
    return sum(len(batch.rows) for batch in extractor.extract(list_images([folder])))


def extract_and_write(extractor: sparsefeat.Extractor, folder: Path, output: Path) -> int:
    return sparsefeat.extract(list_images([folder]), output / "store", model=extractor).rows


@pytest.mark.parametrize("layers", BARS)
def test_cost_of_writing(
    benchmark: BenchmarkFixture,
    models: Models,
    photographs: Photographs,
    rounds: Callable[[int], int],
    timing: bool,
    claim: MakeClaim,
    tmp_path: Path,
    layers: str,
) -> None:
    count = PHOTOGRAPHS if timing else BATCH + 1
    folder = photographs.take(count)
    extractor = sparsefeat.Extractor(models.fp32, layers, batch_size=BATCH)
    ways = {
        "without": partial(extract, extractor, folder),
        "with": partial(extract_and_write, extractor, folder, tmp_path),
    }

    def clear() -> None:
        shutil.rmtree(tmp_path / "store", ignore_errors=True)

    ready = dict[str, np.ndarray]()
    for batch in extractor.extract(list_images([folder])):
        ready = {name: csr.data.copy() for name, csr in batch.layers.items()}
    assert ways["without"]() == ways["with"]() == count
    store = sparsefeat.open(tmp_path / "store")
    for name, values in ready.items():
        last = store[name][count - (count % BATCH or BATCH) :]
        assert np.array_equal(last.data, values)

    paired = Paired(ways=ways, between=clear)
    benchmark.pedantic(paired.round, rounds=rounds(ROUNDS))
    benchmark.extra_info["ways"] = paired.figures(count, against="without")
    # A ratio of speeds is the inverse of one of seconds.
    ratio = paired.ratio("without", "with")
    claim(
        Claim(
            text=f"seconds with writing / without, {layers}",
            measured=ratio.median,
            spread=(ratio.low, ratio.high),
            bar=BARS[layers],
            most=True,
            unit="x",
        )
    )
