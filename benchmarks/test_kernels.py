"""The kernels against scipy, numpy and a plain copy, on rows shaped like VGG16's pools.

Densities are those of real photographs (.78 in block1 to .09 in block5). `extra_info` holds the
size of the dense input in bytes, and GB/s of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array

from sparsefeat_kernels import (
    Csr,
    CsrBuffers,
    count_zeros_per_channel,
    count_zeros_per_row,
    csr_zeros_per_channel,
    encode,
    reference,
    to_dense,
)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Activations of a pool for some pictures, at a density, and their known answers."""

    x: npt.NDArray[np.float32]  # (rows, features)
    n_channels: int
    csr: Csr

    @property
    def scipy(self) -> csr_array[np.float32]:
        return csr_array(
            (self.csr.values, self.csr.indices, self.csr.indptr.astype(np.int32)),
            shape=self.x.shape,
        )


SHAPES = {  # density: layer, rows, (H, W, C)
    0.78: ("block1_pool", 2, (112, 112, 64)),
    0.39: ("block3_pool", 8, (28, 28, 256)),
    0.20: ("block4_pool", 16, (14, 14, 512)),
    0.09: ("block5_pool", 64, (7, 7, 512)),
}


@pytest.fixture(
    scope="module",
    params=SHAPES,
    ids=[f"{layer}-{density:.2f}" for density, (layer, *_) in SHAPES.items()],
)
def pool(request: pytest.FixtureRequest) -> Pool:
    _, n_rows, shape = SHAPES[request.param]
    rng = np.random.default_rng(16)
    x = rng.random((n_rows, int(np.prod(shape))), np.float32) + np.float32(1)
    x[rng.random(x.shape, np.float32) >= request.param] = 0
    theirs = csr_array(x)
    csr = Csr(theirs.indptr.astype(np.int64), theirs.indices, theirs.data, x.shape[1])
    return Pool(x=x, n_channels=shape[-1], csr=csr)


@pytest.fixture
def timed(benchmark: BenchmarkFixture, pool: Pool) -> Callable[[Callable[[], object]], None]:
    """Time a function of no arguments and note the bytes of dense input each second."""

    def run(function: Callable[[], object]) -> None:
        benchmark(function)
        benchmark.extra_info["dense_bytes"] = pool.x.nbytes
        if benchmark.stats is not None:  # None where benchmarks run as plain tests
            seconds = benchmark.stats.stats.median
            benchmark.extra_info["dense_gigabytes_per_second"] = pool.x.nbytes / seconds / 1e9

    return run


def same_rows(got: Csr, expected: Csr) -> bool:
    return (
        np.array_equal(got.indptr, expected.indptr)
        and np.array_equal(got.indices, expected.indices)
        and np.array_equal(got.values, expected.values)
    )


Timed = Callable[[Callable[[], object]], None]


@pytest.mark.benchmark(group="encode")
class TestEncode:
    def test_sparsefeat(self, pool: Pool, timed: Timed) -> None:
        buffers = CsrBuffers()
        assert same_rows(encode(pool.x, out=buffers), pool.csr)
        timed(lambda: encode(pool.x, out=buffers))

    def test_sparsefeat_without_buffers(self, pool: Pool, timed: Timed) -> None:
        assert same_rows(encode(pool.x), pool.csr)
        timed(lambda: encode(pool.x))

    def test_numpy(self, pool: Pool, timed: Timed) -> None:
        assert same_rows(reference.encode(pool.x), pool.csr)
        timed(lambda: reference.encode(pool.x))

    def test_scipy(self, pool: Pool, timed: Timed) -> None:
        assert np.array_equal(csr_array(pool.x).toarray(), pool.x)
        timed(lambda: csr_array(pool.x))

    def test_copy(self, pool: Pool, timed: Timed) -> None:
        target = np.empty_like(pool.x)
        np.copyto(target, pool.x)
        assert np.array_equal(target, pool.x)
        timed(lambda: np.copyto(target, pool.x))


@pytest.mark.benchmark(group="decode")
class TestDecode:
    def test_sparsefeat(self, pool: Pool, timed: Timed) -> None:
        out = np.full_like(pool.x, np.nan)
        assert np.array_equal(to_dense(pool.csr, out=out), pool.x)
        timed(lambda: to_dense(pool.csr, out=out))

    def test_numpy(self, pool: Pool, timed: Timed) -> None:
        out = np.empty_like(pool.x)
        rows = np.repeat(np.arange(pool.csr.n_rows), np.diff(pool.csr.indptr))

        def scatter() -> None:
            out.fill(0)
            out[rows, pool.csr.indices] = pool.csr.values

        scatter()
        assert np.array_equal(out, pool.x)
        timed(scatter)

    def test_scipy(self, pool: Pool, timed: Timed) -> None:
        theirs, out = pool.scipy, np.zeros_like(pool.x)
        assert np.array_equal(theirs.toarray(), pool.x)
        timed(lambda: theirs.toarray(out=out))


@pytest.mark.benchmark(group="count zeros")
class TestCountZeros:
    def test_per_row(self, pool: Pool, timed: Timed) -> None:
        expected = reference.csr_zeros_per_row(pool.csr)
        assert np.array_equal(count_zeros_per_row(pool.x), expected)
        timed(lambda: count_zeros_per_row(pool.x))

    def test_per_row_numpy(self, pool: Pool, timed: Timed) -> None:
        expected = reference.csr_zeros_per_row(pool.csr)
        assert np.array_equal(reference.count_zeros_per_row(pool.x), expected)
        timed(lambda: reference.count_zeros_per_row(pool.x))

    def test_per_channel(self, pool: Pool, timed: Timed) -> None:
        expected = reference.csr_zeros_per_channel(pool.csr, pool.n_channels)
        assert np.array_equal(count_zeros_per_channel(pool.x, pool.n_channels), expected)
        timed(lambda: count_zeros_per_channel(pool.x, pool.n_channels))

    def test_per_channel_numpy(self, pool: Pool, timed: Timed) -> None:
        expected = reference.csr_zeros_per_channel(pool.csr, pool.n_channels)
        assert np.array_equal(reference.count_zeros_per_channel(pool.x, pool.n_channels), expected)
        timed(lambda: reference.count_zeros_per_channel(pool.x, pool.n_channels))

    def test_per_channel_of_csr(self, pool: Pool, timed: Timed) -> None:
        expected = reference.count_zeros_per_channel(pool.x, pool.n_channels)
        assert np.array_equal(csr_zeros_per_channel(pool.csr, pool.n_channels), expected)
        timed(lambda: csr_zeros_per_channel(pool.csr, pool.n_channels))

    def test_per_channel_of_csr_numpy(self, pool: Pool, timed: Timed) -> None:
        expected = reference.count_zeros_per_channel(pool.x, pool.n_channels)
        assert np.array_equal(reference.csr_zeros_per_channel(pool.csr, pool.n_channels), expected)
        timed(lambda: reference.csr_zeros_per_channel(pool.csr, pool.n_channels))
