import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefeat_kernels import Csr, encode, reference, to_dense

from .laws import assert_same_csr, dense_rows, property_settings, random_rows


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
    assert part.nnz == 0 or np.shares_memory(part.values, csr.values)
    assert part.nnz == 0 or np.shares_memory(part.indices, csr.indices)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 4), (2, 1), (4, 4)])
def test_rows_outside_are_refused(start: int, stop: int) -> None:
    with pytest.raises(IndexError, match=f"rows {start} to {stop} of 3"):
        encode(random_rows(3, 5, 0.5)).rows(start, stop)


def test_sizes() -> None:
    csr = encode(np.array([[0, 1, 0], [2, 3, 0]], np.float32))
    assert (csr.n_rows, csr.nnz, csr.n_columns) == (2, 3, 3)


def test_survives_pickling() -> None:
    csr = encode(random_rows(3, 50, 0.5))
    assert_same_csr(pickle.loads(pickle.dumps(csr)), csr)


def test_no_rows() -> None:
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
        ((INDPTR, INDICES, VALUES.astype(float), 3), TypeError, "values is float64, .* float32"),
        (([0, 1, 2], INDICES, VALUES, 3), TypeError, "indptr is list"),
        ((INDPTR, INDICES[:, np.newaxis], VALUES, 3), ValueError, "indices has shape"),
        ((INDPTR, INDICES, np.repeat(VALUES, 2)[::2], 3), ValueError, "values has shape .* strid"),
        ((INDPTR, INDICES[:1], VALUES, 3), ValueError, "1 indices for 2 values"),
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
