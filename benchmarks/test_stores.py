"""The store against other files, on activations of real photographs.

What is read has just been written, so it comes from the system's memory, not from a disk. Opening
is part of reading everything, not of reading rows. The store alone is synced to disk before
writing it counts as done.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array

import sparsefeat
from sparsefeat.records import Layer

from .conftest import Models
from .formats import FORMATS, Format, Matrix, Opened, size_of

Float32 = NDArray[np.float32]

# Layers: photographs, and how often their rows are repeated, far enough apart for no
# compression to see it.
LAYERS = {"block3_pool": (256, 1), "block5_pool": (256, 4)}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Activations of a layer: as the network gave them, and sparse."""

    layer: Layer
    dense: Float32  # (n, features)
    matrix: Matrix

    def random(self, count: int) -> NDArray[np.int64]:
        """Draw row numbers: twice the same one only where there are too few."""
        n_rows = len(self.dense)
        return np.random.default_rng(count).choice(n_rows, count, replace=count > n_rows)


@pytest.fixture(scope="module", params=LAYERS)
def rows(
    request: pytest.FixtureRequest,
    models: Models,
    images: Callable[[int], Float32],
    timing: bool,
) -> Rows:
    name = request.param
    count, copies = LAYERS[name] if timing else (12, 2)
    extractor = sparsefeat.Extractor(models.fp32, name)
    layer = extractor.layers[name]
    dense = extractor.run(images(count))[name].reshape(count, layer.n_features)
    dense = np.tile(dense, (copies, 1))
    return Rows(layer=layer, dense=dense, matrix=csr_array(dense))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A format that can't be had here is skipped once; a plain test reads few random rows."""
    if "form" in metafunc.fixturenames:
        known = [
            name
            for name, form in FORMATS.items()
            if not form.needs or find_spec(form.needs) or metafunc.function is test_write
        ]
        metafunc.parametrize("form", known, indirect=True)
    if "n_random" in metafunc.fixturenames:
        timing = metafunc.config.getoption("benchmark_enable")
        metafunc.parametrize("n_random", [1, 1000] if timing else [1, 30])


@pytest.fixture
def form(request: pytest.FixtureRequest) -> Format:
    chosen = FORMATS[request.param]
    if chosen.needs is not None:
        pytest.importorskip(chosen.needs, reason=f"{request.param} needs {chosen.needs}")
    return chosen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "matrix.npz"  # the one suffix that numpy insists on


@pytest.fixture
def written(rows: Rows, form: Format, path: Path) -> Path:
    form.write(rows.matrix, path, rows.layer)
    return path


@pytest.fixture
def opened(rows: Rows, form: Format, written: Path) -> Opened:
    return form.opened(written, rows.layer)


@pytest.fixture
def note(benchmark: BenchmarkFixture, rows: Rows) -> Callable[[int], None]:
    """Note MB/s of dense float32, for so many rows."""

    def say(n_rows: int) -> None:
        n_bytes = n_rows * rows.layer.n_features * 4
        benchmark.extra_info["dense_megabytes"] = n_bytes / 1e6
        if benchmark.stats is not None:
            seconds = benchmark.stats.stats.median
            benchmark.extra_info["dense_megabytes_per_second"] = n_bytes / 1e6 / seconds

    return say


def same(got: Matrix, expected: Matrix) -> bool:
    got.sort_indices()
    return (
        got.shape == expected.shape
        and got.dtype == expected.dtype == np.float32
        and np.array_equal(got.indptr, expected.indptr)
        and np.array_equal(got.indices, expected.indices)
        and np.array_equal(got.data, expected.data)
    )


Note = Callable[[int], None]
AllowedRounds = Callable[[int], int]


def test_write(
    benchmark: BenchmarkFixture,
    rows: Rows,
    form: Format,
    path: Path,
    rounds: AllowedRounds,
    note: Note,
) -> None:
    benchmark.group = f"write {rows.layer.name}"

    def remove() -> None:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    form.write(rows.matrix, path, rows.layer)
    assert same(form.opened(path, rows.layer).csr(), rows.matrix)
    n_bytes = size_of(path)
    benchmark.pedantic(
        form.write, args=(rows.matrix, path, rows.layer), setup=remove, rounds=rounds(3)
    )
    benchmark.extra_info |= {"bytes": n_bytes, "share_of_dense": n_bytes / rows.dense.nbytes}
    note(len(rows.dense))


@pytest.mark.parametrize("kind", ["CSR", "dense"])
def test_read_all(
    benchmark: BenchmarkFixture,
    rows: Rows,
    form: Format,
    written: Path,
    rounds: AllowedRounds,
    note: Note,
    kind: str,
) -> None:
    benchmark.group = f"read {rows.layer.name}, {kind}"

    def read() -> Matrix | Float32:
        opened = form.opened(written, rows.layer)
        return opened.csr() if kind == "CSR" else opened.dense()

    got = read()
    if isinstance(got, np.ndarray):
        assert np.array_equal(got, rows.dense)
    else:
        assert same(got, rows.matrix)
    benchmark.pedantic(read, rounds=rounds(5))
    note(len(rows.dense))


def test_read_random_rows(
    benchmark: BenchmarkFixture,
    rows: Rows,
    opened: Opened,
    rounds: AllowedRounds,
    note: Note,
    n_random: int,
) -> None:
    benchmark.group = f"read {n_random} random rows of {rows.layer.name}"
    numbers = rows.random(n_random)
    assert same(opened.rows(numbers), rows.matrix[numbers])
    benchmark.pedantic(opened.rows, args=(numbers,), rounds=rounds(20 if n_random == 1 else 3))
    note(n_random)
