"""The compiled kernels. Importing this module imports numba: do it when one is needed."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Function = TypeVar("Function", bound=Callable[..., Any])

BLOCK = 1024  # elements: 4 KiB read and at most 8 KiB written between two looks at the room left
MAGNITUDE = 0x7FFFFFFF  # all of a float32's bits but its sign


def kernel(function: Function) -> Function:
    """Compile when first called, cache on disk, and release the GIL."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))


@kernel
def fill(
    bits: npt.NDArray[np.int32],
    first_row: int,
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    values: npt.NDArray[np.int32],
) -> int:
    """Append rows from `first_row` on; give the first one that found too little room."""
    n_rows, n_features = len(bits), bits.shape[1]
    for row in range(first_row, n_rows):
        nnz = indptr[row]
        for start in range(0, n_features, BLOCK):
            if nnz + BLOCK > len(values):
                return row
            for column in range(start, min(start + BLOCK, n_features)):
                # Written always, kept by moving on: a branch would be guessed wrong too often.
                bit_pattern = bits[row, column]
                indices[nnz] = column
                values[nnz] = bit_pattern
                nnz += (bit_pattern & MAGNITUDE) != 0
        indptr[row + 1] = nnz
    return n_rows


@kernel
def nonzeros_per_row(bits: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> None:
    """Count each row's elements other than 0 and -0."""
    for row in range(bits.shape[0]):
        count = 0
        for column in range(bits.shape[1]):
            count += (bits[row, column] & MAGNITUDE) != 0
        counts[row] = count


@kernel
def nonzeros_per_channel(
    bits: npt.NDArray[np.int32], n_channels: int, counts: npt.NDArray[np.int64]
) -> None:
    """Add each channel's elements other than 0 and -0 to `counts`."""
    for row in range(bits.shape[0]):
        for start in range(0, bits.shape[1], n_channels):
            for channel in range(n_channels):
                counts[channel] += (bits[row, start + channel] & MAGNITUDE) != 0


@kernel
def csr_row_is_sound(
    indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], n_columns: int, row: int
) -> bool:
    """Say whether the row lies within `indices`, and strictly increases within the columns."""
    start, stop = indptr[row], indptr[row + 1]
    if start < 0 or stop < start or stop > len(indices):
        return False
    if start == stop:
        return True
    disorder = 0
    for i in range(start + 1, stop):
        disorder += indices[i - 1] >= indices[i]
    return disorder == 0 and indices[start] >= 0 and indices[stop - 1] < n_columns


@kernel
def scatter(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    values: npt.NDArray[np.int32],
    dense: npt.NDArray[np.int32],
) -> int:
    """Write all rows; give the first that is not sound, or the number of rows."""
    n_rows, n_columns = len(dense), dense.shape[1]
    for row in range(n_rows):
        if not csr_row_is_sound(indptr, indices, n_columns, row):
            return row
        dense[row] = 0
        for i in range(indptr[row], indptr[row + 1]):
            dense[row, indices[i]] = values[i]
    return n_rows


@kernel
def csr_nonzeros_per_channel(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    n_columns: int,
    counts: npt.NDArray[np.int64],
) -> int:
    """Add each channel's stored elements to `counts`; give a row as `scatter` does."""
    n_rows, n_channels = len(indptr) - 1, len(counts)
    for row in range(n_rows):
        if not csr_row_is_sound(indptr, indices, n_columns, row):
            return row
        for i in range(indptr[row], indptr[row + 1]):
            counts[indices[i] % n_channels] += 1
    return n_rows
