"""How a store's costs grow with its rows: synthetic rows of 512 features at a density of 0.1.

Each operation runs in a separate process, which reports the time, and its peak memory minus the
memory that it had before. Sizes are n, 3n and 10n: what is linear in the rows takes ten times as
long for the last as for the first.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
from sparsefeat.storage import LocalStorage
from sparsefeat.store import JSON, StoreWriter, history
from sparsefeat.store.dataset import Change, Log
from sparsefeat.store.format import part_key
from sparsefeat.types import Batch, Layer, Row
from sparsefeat_kernels import encode

from .claims import Claim
from .conftest import MakeClaim

LAYER = Layer(name="features", shape=(512,))
GROWTH = (1, 3, 10)
SETTINGS: dict[str, JSON] = {"made": "for a benchmark"}

MEASURE = """
import itertools, json, sys, time
import numpy as np
import pandas, scipy.sparse
import sparsefeat, sparsefeat.store
from sparsefeat.images import Source
from sparsefeat.store import StoreWriter
from sparsefeat.types import Layer
from sparsefeat_kernels import encode, to_dense
to_dense(encode(np.ones((1, 2), np.float32)))

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

folder, operation = sys.argv[1:]
layer = Layer(name="features", shape=(512,))
store = None
if operation in ("first random row", "1,000 random rows", "obs"):
    store = sparsefeat.open(folder)
writer = None
if operation == "rerun":
    writer = StoreWriter.open(
        folder, layers=[layer], settings={"made": "for a benchmark"}, provenance={}
    )
    listed = (
        Source(
            file="", root="/photos", path=f"{n // 1000:05}/{n:09}.jpg", label="",
            bytes=100_000 + n, mtime_ns=n,
        )
        for n in range(int(sys.stdin.read()))
    )
with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")
before, start = peak(), time.perf_counter()
if operation == "open":
    sparsefeat.open(folder)
elif operation == "first random row":
    store["features"][len(store) * 2 // 3]
elif operation == "1,000 random rows":
    store["features"][np.random.default_rng(0).integers(0, len(store), 1000)]
elif operation == "obs":
    store.obs
elif operation == "info":
    sparsefeat.info(folder)
elif operation == "open for writing":
    StoreWriter.open(
        folder, layers=[layer], settings={"made": "for a benchmark"}, provenance={}
    ).index.statuses([Source(file="", root="", path="", label="", bytes=0, mtime_ns=0)])
elif operation == "rerun":
    while some := [*itertools.islice(listed, 1024)]:
        assert set(writer.index.statuses(some)) == {"stored"}
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "bytes": peak() - before}))
"""
OPERATIONS = (
    *("open", "first random row", "1,000 random rows", "obs", "info"),
    *("open for writing", "rerun"),
)

# Limits in bytes: for a million rows, and a minimum for fewer.
MAX_BYTES = {"obs": (250e6, 50e6), "info": (0.0, 200e6)}


def make_row(number: int) -> Row:
    return Row(
        path=f"{number // 1000:05}/{number:09}.jpg",
        root="/photos",
        label=f"{number // 1000:05}",
        bytes=100_000 + number,
        mtime_ns=number,
        sha256=f"{number:064x}",
        width=800,
        height=600,
        format="JPEG",
    )


def write(
    folder: Path,
    n_rows: int,
    rows_per_part: int,
    layer: Layer = LAYER,
    settings: Mapping[str, JSON] = SETTINGS,
) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((rows_per_part, layer.n_features), np.float32)
    values[rng.random(values.shape) >= 0.1] = 0
    csr = encode(values)
    with StoreWriter.open(
        folder, layers=[layer], settings=settings, provenance={}, rows_per_part=rows_per_part
    ) as writer:
        for start in range(0, n_rows, rows_per_part):
            rows = tuple(make_row(number) for number in range(start, start + rows_per_part))
            writer.append(Batch(rows=rows, layers={layer.name: csr}))


def measure(folder: Path, operation: str, n_rows: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), operation],
        input=str(n_rows),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def stores(
    request: pytest.FixtureRequest, timing: bool, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Path]:
    """Stores of n, 3n and 10n rows, in parts of 1,000."""
    smallest = request.config.getoption("scale_rows") if timing else 1000
    folders = {}
    for times in GROWTH if timing else GROWTH[:1]:
        folders[smallest * times] = tmp_path_factory.mktemp("scale") / "store"
        write(folders[smallest * times], smallest * times, 1000)
    return folders


@pytest.mark.parametrize("operation", OPERATIONS)
def test_costs_grow_linearly(
    benchmark: BenchmarkFixture, claim: MakeClaim, stores: dict[int, Path], operation: str
) -> None:
    found = benchmark.pedantic(
        lambda: {n: measure(folder, operation, n) for n, folder in stores.items()}, rounds=1
    )
    benchmark.extra_info["growth"] = found
    benchmark.extra_info["microseconds_per_row"] = {
        n: 1e6 * each["seconds"] / n for n, each in found.items()
    }
    largest = max(stores)
    seconds, n_bytes = found[largest]["seconds"], found[largest]["bytes"]
    per_row = operation in ("open for writing", "rerun", "obs", "info")
    targets = {
        "open": (0.05e-3, largest / 1000),
        "first random row": (0.05, 1),
        "1,000 random rows": (0.4, 1),
        "obs": (1e-6, largest),
        "info": (0.5e-6, largest),
        "open for writing": (5e-6, largest),
        "rerun": (5e-6, largest),
    }
    each, count = targets[operation]
    claim(
        Claim(
            text=f"{operation}, {largest:,} rows",
            measured=seconds,
            bar=each * count,
            most=True,
            unit="s",
        )
    )
    if per_row:
        first = found[min(stores)]["seconds"]
        growth = seconds / first
        claim(
            Claim(
                text=f"{operation}: 10 times the rows, times as long",
                measured=growth,
                bar=13,
                most=True,
                unit="x",
            )
        )
    if operation in MAX_BYTES:
        per_million, at_least = MAX_BYTES[operation]
        claim(
            Claim(
                text=f"{operation}, {largest:,} rows: memory",
                measured=n_bytes,
                bar=max(at_least, per_million * largest / 1e6),
                most=True,
                unit=" B",
            )
        )
    benchmark.extra_info["peak_bytes"] = n_bytes


LIST = """
import json, sys, time
from threading import Event
from sparsefeat.images import ImageStream, Search

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")
before, start = peak(), time.perf_counter()
stream = ImageStream(Search(sys.argv[1]))
stream.wait(600)
first = time.perf_counter() - start
while not stream.complete:
    time.sleep(0.01)
print(json.dumps({
    "first_seconds": first,
    "seconds": time.perf_counter() - start,
    "bytes": peak() - before,
    "files": stream.n_listed,
}))
"""


def test_time_and_memory_of_listing(
    benchmark: BenchmarkFixture,
    claim: MakeClaim,
    timing: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Time to the first file, and memory of a listing that nothing consumes."""
    n_files = request.config.getoption("scale_files") if timing else 2000
    for number in range(n_files):
        if number % 1000 == 0:
            folder = tmp_path / f"{number // 1000:05}"
            folder.mkdir()
        (folder / f"{number:09}.jpg").touch()
    run = [sys.executable, "-c", LIST, str(tmp_path)]
    done = benchmark.pedantic(
        lambda: subprocess.run(run, capture_output=True, text=True, check=True), rounds=1
    )
    found: dict[str, float] = json.loads(done.stdout)
    assert found["files"] == n_files
    benchmark.extra_info["listing"] = found
    claims = (
        (f"first of {n_files:,} files", found["first_seconds"], 5, "s"),
        ("memory of a file listed", found["bytes"] / n_files, 100, " B"),
    )
    for text, measured, bar, unit in claims:
        if timing:
            claim(Claim(text=text, measured=measured, bar=bar, most=True, unit=unit))


STOPPED = """
import sys
from sparsefeat.cli import main, progress
progress.LOG_FIRST_SECONDS = progress.LOG_EVERY_SECONDS = 0
main(sys.argv[1:])
"""


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_time_to_stop_while_a_store_is_opened(
    benchmark: BenchmarkFixture,
    claim: MakeClaim,
    timing: bool,
    request: pytest.FixtureRequest,
    small_vgg16: Path,
    tmp_path: Path,
    share: float,
) -> None:
    """How long a command runs after SIGTERM, once it has read a share of the store's parts."""
    n_parts = request.config.getoption("scale_rows") // 100 if timing else 30
    folder = tmp_path / "store"
    extractor = sparsefeat.Extractor(small_vgg16, layers="block5_pool", pool="avg", size=(32, 32))
    (layer,) = extractor.layers.values()
    write(folder, 1000, 1000, layer, extractor.settings)
    log = Log(LocalStorage(folder))
    (entry,) = log.require().parts
    copies = [structs.replace(entry, name=f"{number:016x}") for number in range(n_parts)]
    for copy in copies:
        (folder / part_key(copy.name)).symlink_to(folder / part_key(entry.name))
    log.commit(log.require(), lambda _: Change(operation="copy", parts=copies))
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    options = ["--layers", "block5_pool", "--pool", "avg", "--size", "32x32"]
    line = [*("extract", tmp_path / "image.png", "-o", folder, "-m", small_vgg16), *options]

    def stop() -> float:
        with subprocess.Popen(
            [sys.executable, "-c", STOPPED, "-v", *map(str, line)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            for said in process.stderr:
                known = re.search(r"([\d,]+) of [\d,]+ parts of the store", said)
                if known and int(known[1].replace(",", "")) >= int(share * n_parts):
                    break
            start = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.communicate()
            # With few parts, the command may have finished by now.
            assert process.returncode in ((143,) if timing else (0, 143))
            return time.perf_counter() - start

    seconds = benchmark.pedantic(stop, rounds=1)
    benchmark.extra_info["seconds_until_it_ended"] = seconds
    if timing:
        claim(
            Claim(
                text=f"SIGTERM at {share:.0%} of {n_parts:,} parts of 1,000 rows",
                measured=seconds,
                bar=2,
                most=True,
                unit="s",
            )
        )


def test_cost_of_committing_parts_one_by_one(
    benchmark: BenchmarkFixture,
    claim: MakeClaim,
    timing: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Bytes of all snapshots, and time of a commit, with parts of one row each."""
    n_parts = request.config.getoption("scale_parts") if timing else 50
    benchmark.pedantic(lambda: write(tmp_path / "store", n_parts, 1), rounds=1)
    commits = len(history(tmp_path / "store"))
    assert commits == n_parts
    files = {
        int(file.stem): file.stat().st_size for file in (tmp_path / "store/snapshots").iterdir()
    }
    per_commit = sum(files.values()) / n_parts
    benchmark.extra_info["snapshot_bytes_per_commit"] = per_commit
    # The largest file is the last full list, which has as many parts as its number.
    size, number = max((size, number) for number, size in files.items())
    benchmark.extra_info["full_list_bytes_per_part"] = size / number
    if benchmark.stats is not None:
        claim(
            Claim(
                text=f"one commit of {n_parts:,}",
                measured=benchmark.stats.stats.mean / n_parts,
                bar=0.1,
                most=True,
                unit="s",
            )
        )
        claim(
            Claim(
                text="bytes of snapshots a commit",
                measured=per_commit,
                bar=3000,
                most=True,
                unit=" B",
            )
        )
