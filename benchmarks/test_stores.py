"""The store compared with other files, on activations of real images.

Files have just been written when they are read, so they come from the system's cache. The time to
read everything includes opening, the time to read rows doesn't. Only the store is synced to disk
while it is written.
"""

import itertools
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array, vstack

import sparsefeat
from sparsefeat.types import Layer

from .claims import Claim
from .conftest import MakeClaim, Models
from .formats import FORMATS, Matrix, Opened, size_of
from .memory import peak_memory
from .paired import Paired
from .recipe import floor_bytes, recipe_bytes

Float32 = NDArray[np.float32]
AllowedRounds = Callable[[int], int]

# Layers: images, and how often their rows are repeated, too far apart for compression to profit.
LAYERS = {"block3_pool": (128, 1), "block5_pool": (128, 8)}
PAUSE_SECONDS = 0.02
OURS = "sparsefeat"

# Limits for block3_pool, set with images in which 39 % of it isn't zero.
READ_GIGABYTES_PER_SECOND = 0.9
ROW_MILLISECONDS = 6

READ = (
    "import sys, sparsefeat; store = sparsefeat.open(sys.argv[1]); matrix = store[sys.argv[2]][{}]"
)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Activations of a layer: dense from the network, sparse, and as a file in each format."""

    layer: Layer
    dense: Float32  # (n, features)
    matrix: Matrix
    n_different: int  # number of different rows; the others repeat them
    paths: dict[str, Path]

    def record(self, n_rows: int) -> dict[str, Any]:
        """Record what is written or read, for the report."""
        dense_bytes = 4 * n_rows * self.layer.n_features
        return {"layer": self.layer.name, "n_rows": n_rows, "dense_bytes": dense_bytes}

    def random(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """Draw row numbers, without repeats if there are enough rows."""
        n_rows = len(self.dense)
        return np.random.default_rng((count, seed)).choice(n_rows, count, replace=count > n_rows)

    def opened(self) -> dict[str, Opened]:
        return {name: FORMATS[name].opened(path, self.layer) for name, path in self.paths.items()}


@pytest.fixture(scope="module", params=LAYERS)
def rows(
    request: pytest.FixtureRequest,
    models: Models,
    images: Callable[[int], Float32],
    timing: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Rows:
    name = request.param
    count, copies = LAYERS[name] if timing else (12, 2)
    extractor = sparsefeat.Extractor(models.fp32, name)
    layer = extractor.layers[name]
    dense = extractor.run(images(count))[name].reshape(count, layer.n_features)
    dense = np.tile(dense, (copies, 1))
    matrix = csr_array(dense)
    folder = tmp_path_factory.mktemp(name)
    paths = {form: folder / f"{form}.npz" for form in FORMATS}  # NumPy requires the suffix
    for form, path in paths.items():
        FORMATS[form].write(matrix, path, layer)
        assert same(FORMATS[form].opened(path, layer).csr(), matrix), form
    return Rows(layer=layer, dense=dense, matrix=matrix, n_different=count, paths=paths)


class Comparison:
    """Formats that are timed in turn, and the claims about ours."""

    def __init__(
        self, benchmark: BenchmarkFixture, claim: MakeClaim, rounds: AllowedRounds, rows: Rows
    ) -> None:
        self._benchmark, self._claim, self._rounds, self._rows = benchmark, claim, rounds, rows

    def run(
        self,
        ways: dict[str, Callable[[], object]],
        n_rows: int,
        n_rounds: int,
        between: Callable[[], object] = lambda: None,
    ) -> Paired:
        """Time all formats in turn, and record MB/s of dense float32."""
        paired = Paired(ways=ways, between=between, pause_seconds=PAUSE_SECONDS)
        self._benchmark.pedantic(paired.round, rounds=self._rounds(n_rounds))
        megabytes = n_rows * self._rows.layer.n_features * 4 / 1e6
        self._benchmark.extra_info["rows"] = self._rows.record(n_rows)
        self._benchmark.extra_info["ways"] = {
            name: {
                "seconds": seconds,
                "dense_megabytes_per_second": megabytes / float(np.median(seconds)),
                f"times_as_fast_as_{OURS}": paired.ratio(name, OURS).median,
            }
            for name, seconds in paired.seconds.items()
        }
        return paired

    def against(self, paired: Paired, what: str, others: Mapping[str, float]) -> None:
        """Claim how many times as fast the store is as others."""
        for other, bar in others.items():
            ratio = paired.ratio(OURS, other)
            spread = (ratio.low, ratio.high)
            self.claim(f"{what}: store / {other}", ratio.median, bar, spread=spread, unit="x")

    def claim(self, text: str, measured: float, bar: float, **more: Any) -> None:
        text = f"{self._rows.layer.name}, {text}"
        self._claim(Claim(text=text, measured=measured, bar=bar, **more))


@pytest.fixture
def comparison(
    benchmark: BenchmarkFixture, claim: MakeClaim, rounds: AllowedRounds, rows: Rows
) -> Comparison:
    return Comparison(benchmark, claim, rounds, rows)


def same(got: Matrix, expected: Matrix) -> bool:
    got.sort_indices()
    return (
        got.shape == expected.shape
        and got.dtype == expected.dtype == np.float32
        and np.array_equal(got.indptr, expected.indptr)
        and np.array_equal(got.indices, expected.indices)
        and np.array_equal(got.data, expected.data)
    )


def test_write(comparison: Comparison, rows: Rows, tmp_path: Path) -> None:
    def clear() -> None:
        for path in tmp_path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    ways: dict[str, Callable[[], object]] = {
        name: partial(form.write, rows.matrix, tmp_path / f"{name}.npz", rows.layer)
        for name, form in FORMATS.items()
    }
    paired = comparison.run(ways, len(rows.dense), 3, between=clear)
    comparison.against(paired, "write", {"hdf5-gzip": 1.5, "scipy-npz": 5})


def test_sizes(
    benchmark: BenchmarkFixture, comparison: Comparison, rows: Rows, timing: bool, tmp_path: Path
) -> None:
    """Only different rows are used: the reference and the floor would profit from repeats."""
    matrix = rows.matrix[: rows.n_different]
    sizes = {}

    def write() -> None:
        for name, form in FORMATS.items():
            path = tmp_path / f"{name}.npz"
            form.write(matrix, path, rows.layer)
            sizes[name] = size_of(path)

    benchmark.pedantic(write)
    recipe = recipe_bytes(matrix)
    floor = floor_bytes(matrix, rows.layer.n_channels)
    benchmark.extra_info["rows"] = rows.record(rows.n_different)
    benchmark.extra_info["sizes"] = {
        name: {"bytes": size, "of_recipe": size / recipe, "of_floor": size / floor}
        for name, size in sizes.items()
    }
    (part,) = (tmp_path / f"{OURS}.npz" / "parts").iterdir()
    in_layer = size_of(part / "obsm" / rows.layer.name)
    if timing:  # a narrow network's rows are smaller than the metadata
        assert in_layer <= recipe
    comparison.claim("bytes / recipe", in_layer / recipe, 1, most=True, unit="x")
    comparison.claim("bytes / floor", in_layer / floor, 1.05, most=True, unit="x")
    for other in ("hdf5-gzip", "scipy-npz", "parquet"):
        ratio = sizes[OURS] / sizes[other]
        comparison.claim(f"bytes / {other}", ratio, 1, most=True, unit="x")


@pytest.mark.parametrize("kind", ["CSR", "dense"])
def test_read_all(comparison: Comparison, rows: Rows, kind: str) -> None:
    def read(name: str) -> "Matrix | Float32":
        opened = FORMATS[name].opened(rows.paths[name], rows.layer)
        return opened.csr() if kind == "CSR" else opened.dense()

    for name in FORMATS:
        got = read(name)
        if isinstance(got, np.ndarray):
            assert np.array_equal(got, rows.dense), name
        else:
            assert same(got, rows.matrix), name
    ways: dict[str, Callable[[], object]] = {name: partial(read, name) for name in FORMATS}
    paired = comparison.run(ways, len(rows.dense), 7)
    if kind == "CSR":
        bars = {"hdf5-gzip": 2, "scipy-npz": 4, "parquet": 1.2}
        comparison.against(paired, "read, CSR", bars)
    if kind == "CSR" and rows.layer.name == "block3_pool":
        seconds = np.median(paired.seconds[OURS])
        speed = float(rows.dense.nbytes / 1e9 / seconds)
        comparison.claim("read, CSR", speed, READ_GIGABYTES_PER_SECOND, unit=" GB/s of dense")


@pytest.mark.parametrize("n_random", [1, 1000])
def test_read_random_rows(comparison: Comparison, rows: Rows, timing: bool, n_random: int) -> None:
    """Different rows each time, because HDF5 caches decompressed chunks and the store doesn't."""

    def reader(opened: Opened) -> Callable[[], object]:
        draws = (rows.random(n_rows, seed) for seed in itertools.count(1))
        return lambda: opened.rows(next(draws))

    n_rows = n_random if timing else min(n_random, 30)
    numbers = rows.random(n_rows)
    expected = rows.matrix[numbers]
    ways: dict[str, Callable[[], object]] = {}
    for name, opened in rows.opened().items():
        assert same(opened.rows(numbers), expected), name
        ways[name] = reader(opened)
    paired = comparison.run(ways, n_rows, 9 if n_random == 1 else 3)
    what = f"{n_random:,} random row{'s' * (n_random > 1)}"
    bars = {"scipy-npz": 20, "parquet": 1} if n_random == 1 else {"scipy-npz": 2, "parquet": 1}
    comparison.against(paired, what, bars)
    if n_random == 1 and rows.layer.name == "block3_pool":
        milliseconds = 1e3 * float(np.median(paired.seconds[OURS]))
        comparison.claim("one random row", milliseconds, ROW_MILLISECONDS, most=True, unit=" ms")


def test_rows_together_against_one_by_one(comparison: Comparison, rows: Rows, timing: bool) -> None:
    numbers = rows.random(1000 if timing else 30)
    opened = rows.opened()[OURS]

    def one_by_one() -> Matrix:
        return csr_array(vstack([opened.rows(numbers[i : i + 1]) for i in range(len(numbers))]))

    assert same(one_by_one(), opened.rows(numbers))
    ways: dict[str, Callable[[], object]] = {
        OURS: partial(opened.rows, numbers),
        "one by one": one_by_one,
    }
    paired = comparison.run(ways, len(numbers), 3)
    comparison.against(paired, f"{len(numbers):,} random rows together", {"one by one": 5})


def test_memory_of_reading_all(
    benchmark: BenchmarkFixture, comparison: Comparison, rows: Rows
) -> None:
    """The result is allocated once; in addition, only the chunks that are being decoded."""
    command = [sys.executable, "-c", READ, str(rows.paths[OURS]), rows.layer.name]

    def measure() -> tuple[float, float]:
        peaks = [
            peak_memory([*command[:2], READ.format(part), *command[3:]]).rss_gb
            for part in (":1", ":")
        ]
        return peaks[0], peaks[1]

    one, every = benchmark.pedantic(measure)
    matrix = rows.matrix
    wanted = (matrix.data.nbytes + matrix.indices.nbytes) / 1e9
    benchmark.extra_info |= {"one_row_gb": one, "all_rows_gb": every, "matrix_gb": wanted}
    beyond = 1e3 * (every - one - wanted)
    comparison.claim("memory beyond the matrix, all rows", beyond, 16, most=True, unit=" MB")
