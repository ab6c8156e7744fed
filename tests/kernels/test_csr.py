import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_array

from sparsefeat_kernels import Csr, CsrBuffers, encode, reference, to_dense

from .common import (
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


@given(dense_rows(), st.data())
@property_settings
def test_a_slice_of_rows_is_the_encoded_slice(
    x: npt.NDArray[np.float32], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(x)))
    stop = data.draw(st.integers(start, len(x)))
    csr = encode(x)
    part = csr.rows(start, stop)
    assert_same_csr(part, reference.encode(x[start:stop]))
    assert part.nnz == 0 or np.shares_memory(part.data, csr.data)
    assert part.nnz == 0 or np.shares_memory(part.indices, csr.indices)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 4), (2, 1), (4, 4)])
def test_rows_out_of_range_are_refused(start: int, stop: int) -> None:
    with pytest.raises(IndexError, match=f"got rows {start} to {stop}, .* <= 3"):
        encode(random_rows(3, 5, 0.5)).rows(start, stop)


def test_sizes_are_those_of_the_matrix() -> None:
    csr = encode(np.array([[0, 1, 0], [2, 3, 0]], np.float32))
    assert (csr.n_rows, csr.nnz, csr.n_columns) == (2, 3, 3)


def test_survives_pickling() -> None:
    csr = encode(random_rows(3, 50, 0.5))
    assert_same_csr(pickle.loads(pickle.dumps(csr)), csr)


def test_a_matrix_without_rows_is_decoded() -> None:
    csr = Csr(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 4)
    assert to_dense(csr).shape == (0, 4)


INDPTR = np.array([0, 1, 2])
INDICES = np.array([0, 1], np.int32)
VALUES = np.array([1, 2], np.float32)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ((INDPTR.astype(np.int32), INDICES, VALUES, 3), TypeError, "indptr is int32, .* int64"),
        ((INDPTR, INDICES.astype(np.int64), VALUES, 3), TypeError, "indices is int64, .* int32"),
        ((INDPTR, INDICES, VALUES.astype(float), 3), TypeError, "data is float64, .* float32"),
        (([0, 1, 2], INDICES, VALUES, 3), TypeError, "indptr is list"),
        ((INDPTR, INDICES[:, np.newaxis], VALUES, 3), ValueError, "indices has shape"),
        ((INDPTR, INDICES, np.repeat(VALUES, 2)[::2], 3), ValueError, "data has shape .* strid"),
        ((INDPTR, INDICES[:1], VALUES, 3), ValueError, "1 indices for 2 values, expected one"),
        ((INDPTR[:0], INDICES, VALUES, 3), ValueError, "indptr runs from"),
        ((INDPTR[:2], INDICES, VALUES, 3), ValueError, "expected 0 to 2"),
        ((INDPTR[1:], INDICES, VALUES, 3), ValueError, "expected 0 to 2"),
        ((INDPTR, INDICES, VALUES, -1), ValueError, "n_columns is -1"),
        ((INDPTR, INDICES, VALUES, 2**31), ValueError, "n_columns is 2147483648"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    fields: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Csr(*fields)
    assert "\n" not in str(caught.value)


def test_memory_grows_by_at_least_a_quarter_and_preserves_elements() -> None:
    buffers = CsrBuffers()
    buffers.reserve_elements(1000, keep=0)
    assert len(buffers.values) == len(buffers.indices) == 1000
    buffers.indices[:3] = [5, 6, 7]
    buffers.values[:3] = [1, 2, 3]
    buffers.reserve_elements(1001, keep=3)
    assert len(buffers.values) == len(buffers.indices) == 1250
    assert buffers.indices[:3].tolist() == [5, 6, 7]
    assert buffers.values[:3].tolist() == [1, 2, 3]


def test_memory_never_shrinks() -> None:
    buffers = CsrBuffers()
    encode(random_rows(4, 3000, 0.9), out=buffers)
    held = len(buffers.indptr), len(buffers.values)
    encode(np.zeros((1, 1), np.float32), out=buffers)
    assert (len(buffers.indptr), len(buffers.values)) == held


def test_the_first_batch_gets_little_more_than_it_needs() -> None:
    buffers, x = CsrBuffers(), random_rows(4, 100_000, 0.2)
    encode(x, out=buffers)
    assert len(buffers.values) - int(np.count_nonzero(x)) < 2000


@given(dense_rows())
@property_settings
def test_encoding_equals_the_reference_and_decoding_restores_the_array(
    x: npt.NDArray[np.float32],
) -> None:
    assert_round_trip(x)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("n_rows", [0, 1, 3])
def test_rows_of_only_zeros_or_only_non_zeros(n_rows: int, width: int, value: float) -> None:
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
    assert bits(csr.data).tolist() == ([] if is_zero else [pattern])


def test_rectified_responses_to_a_photograph_are_encoded() -> None:
    from skimage.data import astronaut

    photograph = astronaut()
    image = photograph[96:208, 160:272].astype(np.float32) - 117
    patches = sliding_window_view(image, (3, 3, 3)).reshape(110, 110, 27)
    filters = np.random.default_rng(5).standard_normal((27, 64)).astype(np.float32)
    x = np.maximum(patches @ filters - 100, 0).reshape(10, -1)
    assert 0.1 < np.mean(x != 0) < 0.6
    assert_round_trip(x)


@given(dense_rows())
@property_settings
def test_scipy_gives_the_same_matrix(x: npt.NDArray[np.float32]) -> None:
    ours, theirs = encode(x), csr_array(x)
    np.testing.assert_array_equal(ours.indptr, theirs.indptr)
    np.testing.assert_array_equal(ours.indices, theirs.indices)
    assert_same_dense(ours.data, theirs.data)


@given(st.lists(dense_rows(), min_size=2, max_size=5))
@property_settings
def test_reused_buffers_leave_nothing_of_earlier_batches(
    batches: list[npt.NDArray[np.float32]],
) -> None:
    buffers = CsrBuffers()
    for x in batches:
        assert_same_csr(encode(x, out=buffers), reference.encode(x))


def test_a_steady_stream_allocates_no_memory() -> None:
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
        assert np.shares_memory(csr.data, held[2])


def test_without_buffers_the_result_owns_its_memory() -> None:
    first = encode(random_rows(2, 300, 0.5, seed=1))
    second = encode(random_rows(2, 300, 0.5, seed=2))
    assert not np.shares_memory(first.data, second.data)
    assert_same_csr(first, reference.encode(random_rows(2, 300, 0.5, seed=1)))


def test_changing_a_result_does_not_affect_the_next_one() -> None:
    buffers, x = CsrBuffers(), random_rows(3, 200, 0.5)
    encode(x, out=buffers).indptr[:] = -(10**9)
    assert_same_csr(encode(x, out=buffers), reference.encode(x))


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("width", [3, 16, 1000, 1024, 3000])
def test_nothing_is_written_outside_the_buffers(density: float, width: int) -> None:
    x = random_rows(5, width, density)
    nnz = int(np.count_nonzero(x))
    guard, sentinel = 4096, 0x5A5A5A5A
    blocks = {block + one for block in (512, 1024, 2048) for one in (-1, 0, 1)}  # packed at once
    for capacity in {0, 1, nnz, *blocks, *(nnz + block for block in blocks)}:
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


def test_read_only_and_mapped_arrays_are_accepted(tmp_path: Path) -> None:
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
def test_encode_refuses_wrong_arrays(
    x: npt.NDArray[np.float32], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        encode(x)
    assert "\n" not in str(caught.value)


GUARD = 4096


def guarded(n_rows: int, n_columns: int) -> tuple[npt.NDArray[np.float32], ...]:
    """Make an array of arbitrary content between two guard areas."""
    size = n_rows * n_columns
    arena = np.full(GUARD + size + GUARD, np.nan, np.float32)
    out = arena[GUARD : GUARD + size].reshape(n_rows, n_columns)
    return out, arena[:GUARD], arena[GUARD + size :]


@given(dense_rows())
@property_settings
def test_decoding_overwrites_the_whole_array_and_nothing_else(x: npt.NDArray[np.float32]) -> None:
    csr = encode(x)
    out, before, after = guarded(*x.shape)
    assert to_dense(csr, out=out) is out
    assert_same_dense(out, reference.to_dense(csr))
    assert np.isnan(before).all()
    assert np.isnan(after).all()


@given(dense_rows())
@property_settings
def test_matrices_of_scipy_are_decoded(x: npt.NDArray[np.float32]) -> None:
    theirs = csr_array(x)
    ours = Csr(
        theirs.indptr.astype(np.int64), theirs.indices.astype(np.int32), theirs.data, x.shape[1]
    )
    np.testing.assert_array_equal(to_dense(ours), theirs.toarray(), strict=True)


def test_a_stored_zero_is_decoded_with_its_sign() -> None:
    csr = Csr(np.array([0, 2]), np.array([0, 2], np.int32), np.array([-0.0, 0.0], np.float32), 3)
    assert_same_dense(to_dense(csr), np.array([[-0.0, 0.0, 0.0]], np.float32))


@pytest.mark.parametrize("position", [0, 1, 255, 511, 512, 700, 999])
@pytest.mark.parametrize("column", [-(2**31), -1, 0, 1999, 2000, 2001, 2**31 - 1])
@pytest.mark.parametrize("row", [0, 2])
def test_an_index_out_of_range_or_order_is_refused(position: int, column: int, row: int) -> None:
    x = np.zeros((3, 2000), np.float32)
    x[:, ::2] = 1
    csr = encode(x)
    at = row * 1000 + position
    if csr.indices[at] == column:
        return
    csr.indices[at] = column
    out, before, after = guarded(*x.shape)
    if position == 999 and column == 1999:  # still in order and within bounds
        assert to_dense(csr, out=out)[row, 1999] == 1
    else:
        with pytest.raises(ValueError, match=rf"row {row} of the Csr .* 0 to 1999 in order"):
            to_dense(csr, out=out)
    assert np.isnan(before).all()
    assert np.isnan(after).all()


@given(st.data())
@property_settings
def test_decoding_refuses_exactly_what_the_reference_refuses(data: st.DataObject) -> None:
    n_rows, n_columns = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 5))
    nnz = data.draw(st.integers(0, 6))
    ends = st.integers(-2, nnz + 2)
    inner = data.draw(st.lists(ends, min_size=n_rows - 1, max_size=n_rows - 1))
    if data.draw(st.booleans()):
        inner = sorted(min(max(end, 0), nnz) for end in inner)
    columns = data.draw(st.lists(st.integers(-1, n_columns), min_size=nnz, max_size=nnz))
    csr = Csr(
        np.array([0, *inner, nnz]),
        np.array(columns, np.int32),
        np.arange(1, nnz + 1, dtype=np.float32),
        n_columns,
    )
    out, before, after = guarded(n_rows, n_columns)
    invalid = reference.first_invalid_row(csr)
    if invalid is None:
        assert_same_dense(to_dense(csr, out=out), reference.to_dense(csr))
    else:
        with pytest.raises(ValueError, match=f"row {invalid} of the Csr"):
            to_dense(csr, out=out)
        with pytest.raises(ValueError, match=f"row {invalid} of the Csr"):
            reference.to_dense(csr)
    assert np.isnan(before).all()
    assert np.isnan(after).all()


def test_to_dense_refuses_wrong_outputs() -> None:
    csr = encode(random_rows(2, 3, 0.5))
    with pytest.raises(TypeError, match="got float64"):
        to_dense(csr, out=np.zeros((2, 3)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"out has shape \(3, 2\), expected \(2, 3\)"):
        to_dense(csr, out=np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="expected C-contiguous"):
        to_dense(csr, out=np.zeros((3, 2), np.float32).T)
    frozen = np.zeros((2, 3), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        to_dense(csr, out=frozen)
