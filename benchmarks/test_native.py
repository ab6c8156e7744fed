"""Kernels in C compared with numba's: would they be worth a build for each platform?

The system's compiler compiles the C file, if there is one.
"""

import ctypes
import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sparsefeat_kernels import Csr, CsrBuffers, encode, to_dense

from .claims import Claim
from .conftest import MakeClaim
from .paired import Paired
from .pools import SHAPES, Pool, make_pool, same_rows

SOURCE = Path(__file__).parent / "native" / "csr.c"
WAYS = {"plain": 0, "AVX2": 1, "AVX-512": 2}
SLACK = 16  # elements that the encoder may write beyond the end
PAUSE_SECONDS = 0.002
ROUNDS = 25
BAR = 0.8  # share of the speed of C above which C isn't worth it


class Native:
    """The compiled C file.

    Parameters
    ----------
    path
        The compiled library's.
    """

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.decode.restype = ctypes.c_int64
        self.ways = [name for name, way in WAYS.items() if way <= self._library.best()]

    def encode(
        self,
        way: str,
        x: npt.NDArray[np.float32],
        indptr: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int32],
        values: npt.NDArray[np.float32],
    ) -> Csr:
        """Encode into buffers with room for all elements plus SLACK."""
        n_rows, n_features = x.shape
        assert min(len(indices), len(values)) >= x.size + SLACK
        assert len(indptr) > n_rows
        sizes = (ctypes.c_int64(n_rows), ctypes.c_int64(n_features))
        buffers = (_pointer(indptr), _pointer(indices), _pointer(values))
        self._library.encode(WAYS[way], _pointer(x), *sizes, *buffers)
        nnz = int(indptr[n_rows])
        return Csr(indptr[: n_rows + 1], indices[:nnz], values[:nnz], n_features)

    def decode(
        self, way: str, csr: Csr, out: npt.NDArray[np.float32], *, scatter: bool = False
    ) -> None:
        """Decode; `csr` must have valid row ends.

        Raises
        ------
        ValueError
            A row's columns are out of range or order.
        """
        sizes = (ctypes.c_int64(csr.n_rows), ctypes.c_int64(csr.n_columns))
        arrays = (_pointer(csr.indptr), _pointer(csr.indices), _pointer(csr.data))
        done = self._library.decode(WAYS[way], scatter, *arrays, *sizes, _pointer(out))
        if done != csr.n_rows:
            raise ValueError(f"row {done}")


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Native:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler, cc")
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"the C file is for x86-64, this is {platform.machine()}")
    path = tmp_path_factory.mktemp("native") / "csr.so"
    subprocess.run([compiler, "-O3", "-shared", "-fPIC", "-o", path, SOURCE], check=True)
    return Native(path)


@pytest.fixture(scope="module", params=SHAPES, ids=[f"{density:.2f}" for density in SHAPES])
def pool(request: pytest.FixtureRequest) -> Pool:
    return make_pool(request.param)


def odd_rows() -> npt.NDArray[np.float32]:
    """Make rows that end within a vector, some empty, with NaN and negative zeros."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((9, 1037)) < 0.3, rng.normal(size=(9, 1037)), 0).astype(np.float32)
    x[2], x[3], x[4, ::2] = 0, np.nan, -0.0
    return x


@pytest.mark.parametrize("way", WAYS)
def test_c_kernels_equal_ours(native: Native, pool: Pool, way: str) -> None:
    if way not in native.ways:
        pytest.skip(f"this processor has no {way}")
    for x in (pool.x, odd_rows()):
        csr = encode(x)
        assert same_rows(native.encode(way, x, *make_buffers(x)), csr)
        invalid = Csr(csr.indptr, csr.indices.copy(), csr.data, csr.n_columns)
        invalid.indices[csr.nnz // 2] = csr.n_columns
        for scatter in (False, True):
            out = np.full_like(x, 7)
            native.decode(way, csr, out, scatter=scatter)
            assert np.array_equal(out.view(np.int32), to_dense(csr).view(np.int32))
            with pytest.raises(ValueError, match="row"):
                native.decode(way, invalid, out, scatter=scatter)


def make_buffers(x: npt.NDArray[np.float32]) -> tuple[Any, Any, Any]:
    size = x.size + SLACK
    indptr = np.empty(len(x) + 1, np.int64)
    return indptr, np.empty(size, np.int32), np.empty(size, np.float32)


def test_speed_of_c_and_numba(
    benchmark: BenchmarkFixture,
    native: Native,
    pool: Pool,
    claim: MakeClaim,
    rounds: Callable[[int], int],
) -> None:
    buffers, out = CsrBuffers(), np.empty_like(pool.x)
    theirs, target = make_buffers(pool.x), np.empty_like(pool.x)
    ways: dict[str, Callable[[], object]] = {
        "encode": lambda: encode(pool.x, out=buffers),
        "decode": lambda: to_dense(pool.csr, out=out),
        "copy": lambda: np.copyto(target, pool.x),
    }
    for way in native.ways:
        ways[f"encode, C {way}"] = partial(native.encode, way, pool.x, *theirs)
        ways[f"decode, C {way}"] = partial(native.decode, way, pool.csr, out)
    if "AVX-512" in native.ways:
        ways["decode, C AVX-512 scatter"] = partial(
            native.decode, "AVX-512", pool.csr, out, scatter=True
        )
    paired = Paired(ways=ways, pause_seconds=PAUSE_SECONDS)
    paired.warm_up()
    benchmark.pedantic(paired.round, rounds=rounds(ROUNDS))
    benchmark.extra_info["ways"] = {
        name: {
            "gigabytes_per_second": pool.x.nbytes / 1e9 / float(np.median(seconds)),
            "times_as_fast_as_copy": paired.ratio(name, "copy").median,
        }
        for name, seconds in paired.seconds.items()
    }
    for name in ("encode", "decode"):
        others = [way for way in paired.seconds if way.startswith(f"{name}, C")]
        fastest = min(others, key=lambda way: float(np.median(paired.seconds[way])))
        ratio = paired.ratio(name, fastest)
        spread = (ratio.low, ratio.high)
        text = f"{name} by numba / {fastest.removeprefix(name + ', ')}, density {pool.density:.2f}"
        claim(Claim(text=text, measured=ratio.median, spread=spread, bar=BAR, unit="x"))
