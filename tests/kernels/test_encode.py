import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_array

from sparsefeat_kernels import CsrBuffers, encode, reference
from sparsefeat_kernels._pack import BLOCK

from .laws import (
    SPECIAL_BITS,
    WIDTHS,
    assert_round_trip,
    assert_same_csr,
    assert_same_dense,
    bits,
    dense_rows,
    property_settings,
    random_rows,
)


@given(dense_rows())
@property_settings
def test_equals_the_reference_and_comes_back(x: npt.NDArray[np.float32]) -> None:
    assert_round_trip(x)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("n_rows", [0, 1, 3])
def test_all_zero_and_all_kept(n_rows: int, width: int, value: float) -> None:
    x = np.full((n_rows, width), value, np.float32)
    assert_round_trip(x)
    assert encode(x).nnz == (x.size if value else 0)


@pytest.mark.parametrize("pattern", SPECIAL_BITS.tolist(), ids=hex)
@pytest.mark.parametrize("column", [0, 15, 16, 1030])
def test_one_special_element_keeps_its_bits(pattern: int, column: int) -> None:
    x = np.zeros((1, 1031), np.float32)  # the last columns are left over from the vectors
    bits(x)[0, column] = pattern
    csr = encode(x)
    is_zero = pattern in (0, 0x80000000)
    assert csr.indices.tolist() == ([] if is_zero else [column])
    assert bits(csr.values).tolist() == ([] if is_zero else [pattern])


def test_rectified_responses_to_a_photograph() -> None:
    from skimage.data import astronaut

    photograph = astronaut()
    picture = photograph[96:208, 160:272].astype(np.float32) - 117
    patches = sliding_window_view(picture, (3, 3, 3)).reshape(110, 110, 27)
    filters = np.random.default_rng(5).standard_normal((27, 64)).astype(np.float32)
    x = np.maximum(patches @ filters - 100, 0).reshape(10, -1)
    assert 0.1 < np.mean(x != 0) < 0.6
    assert_round_trip(x)


@given(dense_rows())
@property_settings
def test_scipy_makes_the_same(x: npt.NDArray[np.float32]) -> None:
    ours, theirs = encode(x), csr_array(x)
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    assert_same_dense(ours.values, theirs.data)


@given(st.lists(dense_rows(), min_size=2, max_size=5))
@property_settings
def test_reused_buffers_hold_nothing_stale(batches: list[npt.NDArray[np.float32]]) -> None:
    buffers = CsrBuffers()
    for x in batches:
        assert_same_csr(encode(x, out=buffers), reference.encode(x))


def test_a_steady_stream_stays_in_the_same_memory() -> None:
    buffers = CsrBuffers()
    encode(random_rows(4, 5000, 0.5), out=buffers)
    held = buffers.indptr, buffers.indices, buffers.values
    for seed in range(1, 4):
        x = random_rows(4, 5000, 0.4, seed)
        csr = encode(x, out=buffers)
        assert_same_csr(csr, reference.encode(x))
        assert (buffers.indptr, buffers.indices, buffers.values) == held
        assert np.shares_memory(csr.indptr, held[0])
        assert np.shares_memory(csr.indices, held[1])
        assert np.shares_memory(csr.values, held[2])


def test_without_buffers_the_result_owns_its_memory() -> None:
    first = encode(random_rows(2, 300, 0.5, seed=1))
    second = encode(random_rows(2, 300, 0.5, seed=2))
    assert not np.shares_memory(first.values, second.values)
    assert_same_csr(first, reference.encode(random_rows(2, 300, 0.5, seed=1)))


def test_a_result_that_was_written_to_does_no_harm() -> None:
    buffers, x = CsrBuffers(), random_rows(3, 200, 0.5)
    encode(x, out=buffers).indptr[:] = -(10**9)
    assert_same_csr(encode(x, out=buffers), reference.encode(x))


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("width", [3, 16, 1000, 1024, 3000])
def test_nothing_is_written_outside_the_buffers(density: float, width: int) -> None:
    x = random_rows(5, width, density)
    nnz = int(np.count_nonzero(x))
    guard, sentinel = 4096, 0x5A5A5A5A
    for capacity in {0, 1, BLOCK - 1, BLOCK, BLOCK + 1, nnz, nnz + BLOCK - 1, nnz + BLOCK}:
        arenas = np.full((2, guard + capacity + guard), sentinel, np.int32)
        buffers = CsrBuffers()
        buffers.indices = arenas[0, guard : guard + capacity]
        buffers.values = arenas[1, guard : guard + capacity].view(np.float32)
        assert_same_csr(encode(x, out=buffers), reference.encode(x))
        assert (arenas[:, :guard] == sentinel).all()
        assert (arenas[:, guard + capacity :] == sentinel).all()


def test_threads_encode_at_the_same_time() -> None:
    batches = [random_rows(8, 25088, 0.2, seed) for seed in range(4)]
    expected = [reference.encode(x) for x in batches]
    failures: list[AssertionError] = []

    def work(number: int) -> None:
        buffers = CsrBuffers()
        for _ in range(20):
            try:
                assert_same_csr(encode(batches[number], out=buffers), expected[number])
            except AssertionError as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_read_only_and_mapped_arrays_are_welcome(tmp_path: Path) -> None:
    x = random_rows(3, 100, 0.5)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_same_csr(encode(mapped), reference.encode(x))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0]], TypeError, "got list, expected an array of float32"),
        (np.zeros((2, 3)), TypeError, "got float64, expected an array of float32"),
        (np.ma.zeros((2, 3), np.float32), TypeError, "got MaskedArray, expected an array"),
        (np.zeros((2, 3), ">f4"), TypeError, "got >f4, expected an array of float32"),
        (np.zeros(3, np.float32), ValueError, r"got shape \(3,\), expected \(rows, features\)"),
        (np.zeros((1, 2, 3), np.float32), ValueError, r"got shape \(1, 2, 3\)"),
        (np.zeros((3, 2), np.float32).T, ValueError, "expected C-contiguous"),
        (np.zeros((3, 4), np.float32)[:, ::2], ValueError, "expected C-contiguous"),
        (np.zeros(9, np.uint8)[1:].view(np.float32).reshape(1, 2), ValueError, "and aligned"),
        (np.zeros((0, 2**31), np.float32), ValueError, "got 2147483648 features"),
    ],
)
def test_what_it_refuses(x: npt.NDArray[np.float32], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        encode(x)
    assert "\n" not in str(caught.value)
