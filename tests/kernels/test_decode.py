import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparsefeat_kernels import Csr, encode, reference, to_dense

from .laws import assert_same_dense, dense_rows, property_settings, random_rows

GUARD = 4096


def guarded(n_rows: int, n_columns: int) -> tuple[npt.NDArray[np.float32], ...]:
    """Give a dirty array, and the memory before and after it."""
    size = n_rows * n_columns
    arena = np.full(GUARD + size + GUARD, np.nan, np.float32)
    out = arena[GUARD : GUARD + size].reshape(n_rows, n_columns)
    return out, arena[:GUARD], arena[GUARD + size :]


@given(dense_rows())
@property_settings
def test_overwrites_all_of_a_dirty_array_and_nothing_else(x: npt.NDArray[np.float32]) -> None:
    csr = encode(x)
    out, before, after = guarded(*x.shape)
    assert to_dense(csr, out=out) is out
    assert_same_dense(out, reference.to_dense(csr))
    assert np.isnan(before).all()
    assert np.isnan(after).all()


@given(dense_rows())
@property_settings
def test_reads_what_scipy_made(x: npt.NDArray[np.float32]) -> None:
    theirs = csr_array(x)
    ours = Csr(
        theirs.indptr.astype(np.int64), theirs.indices.astype(np.int32), theirs.data, x.shape[1]
    )
    np.testing.assert_array_equal(to_dense(ours), theirs.toarray(), strict=True)


def test_a_stored_zero_is_put_back_with_its_sign() -> None:
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
def test_refuses_exactly_what_the_reference_refuses(data: st.DataObject) -> None:
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
    unsound = reference.first_unsound_row(csr)
    if unsound is None:
        assert_same_dense(to_dense(csr, out=out), reference.to_dense(csr))
    else:
        with pytest.raises(ValueError, match=f"row {unsound} of the Csr"):
            to_dense(csr, out=out)
        with pytest.raises(ValueError, match=f"row {unsound} of the Csr"):
            reference.to_dense(csr)
    assert np.isnan(before).all()
    assert np.isnan(after).all()


def test_what_it_refuses_as_out() -> None:
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
