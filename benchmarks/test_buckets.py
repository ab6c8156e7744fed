"""Stores in a bucket compared with stores in a folder, with an S3 server on loopback.

The times include the server's own work, but no network.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from tests.engine.buckets import environment, new_url, proxying, serving

import sparsefeat
from sparsefeat.images import list_images
from sparsefeat.store import Store, StoreWriter
from sparsefeat.types import Batch, Layer, Row
from sparsefeat_kernels import encode

from .claims import Claim
from .conftest import MakeClaim, Models
from .paired import Paired
from .photographs import Photographs

BATCH = 8
PHOTOGRAPHS = 48
ROUNDS = 5
BARS = {"block5_pool": 1.1, "pools": 1.3}  # relative to the seconds into a folder
PARTS = 1000
OPEN_SECONDS = 1.0
LATENCY_SECONDS = 0.02  # seconds of each request, as within a cloud's region
RANDOM_ROWS = 20


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("weed")) as made:
        yield made


@pytest.fixture(autouse=True)
def reached(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("layers", BARS)
def test_writing(
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
    urls: list[str] = []

    def extract(local: bool) -> int:
        urls.append(str(tmp_path / "store") if local else new_url())
        images = list_images([folder])
        return sparsefeat.extract(images, urls[-1], model=extractor, rows_per_part=16).rows

    ways = {"folder": partial(extract, True), "bucket": partial(extract, False)}
    assert ways["folder"]() == ways["bucket"]() == count
    local, remote = map(Store, urls)
    for name in local.layers:
        assert np.array_equal(local[name].to_numpy(), remote[name].to_numpy())

    paired = Paired(
        ways=ways, between=lambda: shutil.rmtree(tmp_path / "store", ignore_errors=True)
    )
    benchmark.pedantic(paired.round, rounds=rounds(ROUNDS))
    benchmark.extra_info["ways"] = paired.figures(count, against="folder")
    ratio = paired.ratio("folder", "bucket")
    claim(
        Claim(
            text=f"seconds into a bucket / into a folder, {layers}",
            measured=ratio.median,
            spread=(ratio.low, ratio.high),
            bar=BARS[layers],
            most=True,
            unit="x",
        )
    )


LAYER = Layer(name="features", shape=(512,))


def fill(url: str, count: int) -> None:
    """Write a store with a number of parts of one row each."""
    fields: dict[str, Any] = {"root": "/", "label": "", "bytes": 9, "mtime_ns": 1, "sha256": ""}
    values = encode((np.arange(512) % 7 == 0).astype(np.float32)[None])
    with StoreWriter.open(
        url, layers=[LAYER], settings={}, provenance={}, rows_per_part=1
    ) as writer:
        for number in range(count):
            row = Row(path=f"{number}", width=1, height=1, format="PNG", **fields)
            writer.append(Batch(rows=(row,), layers={LAYER.name: values}))


def test_reading(
    benchmark: BenchmarkFixture,
    endpoint: str,
    timing: bool,
    claim: MakeClaim,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Open a store of many parts, and read rows with a delay for each request."""
    parts, url = PARTS if timing else RANDOM_ROWS, new_url()
    fill(url, parts)
    opened = benchmark.pedantic(partial(Store, url), rounds=5 if timing else 1)
    assert opened.n_rows == parts
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.median
        claim(
            Claim(
                text=f"seconds to open a store of {parts} parts",
                measured=seconds,
                bar=OPEN_SECONDS,
                most=True,
                unit="s",
            )
        )
    with proxying(endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        store = Store(url)
        proxy.fault = lambda method, path: LATENCY_SECONDS
        rows = np.random.default_rng(0).permutation(parts)[:RANDOM_ROWS]
        for name, wanted in {
            "first row of a part": rows[:1],
            "row of a part that was read": rows[:1],
            f"rows of {RANDOM_ROWS} parts": rows,
        }.items():
            proxy.requests.clear()
            started = time.perf_counter()
            assert store[LAYER.name][wanted].nnz == 74 * len(wanted)
            benchmark.extra_info[name] = {
                "requests": len(proxy.requests),
                "seconds": time.perf_counter() - started,
            }
    for name in ("first row of a part", "row of a part that was read"):
        count = benchmark.extra_info[name]["requests"]
        claim(Claim(text=f"requests, {name}", measured=count, bar=3, most=True, unit=""))
        assert count <= 3
