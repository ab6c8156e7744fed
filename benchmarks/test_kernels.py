"""The kernels compared with scipy, NumPy and a plain copy, on rows shaped like VGG16's pools.

Densities are those of real images (.78 in block1 to .09 in block5). `extra_info` holds the
size of the dense input in bytes, and GB/s of it.
"""

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.sparse import csr_array

from sparsefeat_kernels import (
    CsrBuffers,
    count_zeros_per_channel,
    count_zeros_per_row,
    csr_zeros_per_channel,
    encode,
    reference,
    to_dense,
)

from .claims import Claim
from .conftest import MakeClaim
from .paired import Paired
from .pools import SHAPES, Pool, make_pool, same_rows


@pytest.fixture(
    scope="module",
    params=SHAPES,
    ids=[f"{layer}-{density:.2f}" for density, (layer, *_) in SHAPES.items()],
)
def pool(request: pytest.FixtureRequest) -> Pool:
    return make_pool(request.param)


@pytest.fixture
def timed(benchmark: BenchmarkFixture, pool: Pool) -> Callable[[Callable[[], object]], None]:
    """Time a function without arguments, and record bytes of dense input per second."""

    def run(function: Callable[[], object]) -> None:
        benchmark(function)
        benchmark.extra_info["dense_bytes"] = pool.x.nbytes
        if benchmark.stats is not None:  # None if benchmarks are not timed
            seconds = benchmark.stats.stats.median
            benchmark.extra_info["dense_gigabytes_per_second"] = pool.x.nbytes / seconds / 1e9

    return run


Timed = Callable[[Callable[[], object]], None]


# GB/s of dense input on one core, at densities of .20 and .09.
GIGABYTES_PER_SECOND = {"encode": {0.20: 3, 0.09: 5}, "decode": {0.20: 5, 0.09: 10}}
TIMES_AS_FAST_AS_SCIPY = 5  # for encoding, at any density
PAUSE_SECONDS = 0.002
ROUNDS = 25


def test_claimed_speeds(
    benchmark: BenchmarkFixture, pool: Pool, claim: MakeClaim, rounds: Callable[[int], int]
) -> None:
    """All in turn, so that other work of the machine slows scipy and a plain copy as well."""
    buffers, out, target = CsrBuffers(), np.empty_like(pool.x), np.empty_like(pool.x)
    theirs = pool.scipy
    assert same_rows(encode(pool.x, out=buffers), pool.csr)
    assert np.array_equal(to_dense(pool.csr, out=out), pool.x)
    zeroed = np.zeros_like(pool.x)
    ways: dict[str, Callable[[], object]] = {
        "encode": lambda: encode(pool.x, out=buffers),
        "scipy's csr_array": lambda: csr_array(pool.x),
        "decode": lambda: to_dense(pool.csr, out=out),
        "scipy's toarray": lambda: theirs.toarray(out=zeroed),
        "copy": lambda: np.copyto(target, pool.x),
    }
    paired = Paired(ways=ways, pause_seconds=PAUSE_SECONDS)
    paired.warm_up()
    benchmark.pedantic(paired.round, rounds=rounds(ROUNDS))
    benchmark.extra_info["gigabytes_per_second"] = {
        name: pool.x.nbytes / 1e9 / float(np.median(seconds))
        for name, seconds in paired.seconds.items()
    }
    for name, bars in GIGABYTES_PER_SECOND.items():
        ratio = paired.ratio(name, "copy")
        benchmark.extra_info[f"{name} / copy"] = ratio.median
        if pool.density in bars:
            speed = pool.x.nbytes / 1e9 / float(np.median(paired.seconds[name]))
            text = f"{name}, density {pool.density:.2f} ({ratio.median:.2f}x a copy's speed)"
            claim(Claim(text=text, measured=speed, bar=bars[pool.density], unit=" GB/s"))
    for name, other, bar in (
        ("encode", "scipy's csr_array", TIMES_AS_FAST_AS_SCIPY),
        ("decode", "scipy's toarray", 1),
    ):
        ratio = paired.ratio(name, other)
        spread = (ratio.low, ratio.high)
        text = f"{name} / {other}, density {pool.density:.2f}"
        claim(Claim(text=text, measured=ratio.median, spread=spread, bar=bar, unit="x"))


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
            out[rows, pool.csr.indices] = pool.csr.data

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
