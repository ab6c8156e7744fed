"""The same functions in plain numpy and Python: slow, and what the fast ones are tested against."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._check import refuse_row
from sparsefeat_kernels.csr import Csr


def encode(x: npt.NDArray[np.float32]) -> Csr:
    """Keep what isn't zero, as `sparsefeat_kernels.encode` does."""
    kept = x != 0
    indptr = np.zeros(len(x) + 1, np.int64)
    np.cumsum(np.count_nonzero(kept, axis=1), out=indptr[1:])
    return Csr(indptr, np.nonzero(kept)[1].astype(np.int32), x[kept], x.shape[1])


def to_dense(csr: Csr) -> npt.NDArray[np.float32]:
    """Put every value at its column, as `sparsefeat_kernels.to_dense` does."""
    unsound = first_unsound_row(csr)
    if unsound is not None:
        refuse_row(csr, unsound)
    dense = np.zeros((csr.n_rows, csr.n_columns), np.float32)
    for row in range(csr.n_rows):
        stored = slice(csr.indptr[row], csr.indptr[row + 1])
        dense[row, csr.indices[stored]] = csr.values[stored]
    return dense


def first_unsound_row(csr: Csr) -> int | None:
    """Find the first row that leaves its bounds or doesn't strictly increase."""
    for row in range(csr.n_rows):
        start, stop = csr.indptr[row].item(), csr.indptr[row + 1].item()
        if not 0 <= start <= stop <= csr.nnz:
            return row
        columns = csr.indices[start:stop].tolist()
        if columns != sorted(set(columns)):
            return row
        if columns and not 0 <= columns[0] <= columns[-1] < csr.n_columns:
            return row
    return None


def count_zeros_per_row(x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Count each row's zeros, as `sparsefeat_kernels.count_zeros_per_row` does."""
    zeros: npt.NDArray[np.int64] = (x == 0).sum(axis=1, dtype=np.int64)
    return zeros


def count_zeros_per_channel(x: npt.NDArray[np.float32], n_channels: int) -> npt.NDArray[np.int64]:
    """Count each channel's zeros, as `sparsefeat_kernels.count_zeros_per_channel` does."""
    places = (x == 0).reshape(-1, n_channels)
    zeros: npt.NDArray[np.int64] = places.sum(axis=0, dtype=np.int64)
    return zeros


def csr_zeros_per_row(csr: Csr) -> npt.NDArray[np.int64]:
    """Count what each row doesn't store, as `sparsefeat_kernels.csr_zeros_per_row` does."""
    stored = np.zeros((csr.n_rows, csr.n_columns), bool)
    for row in range(csr.n_rows):
        stored[row, csr.indices[csr.indptr[row] : csr.indptr[row + 1]]] = True
    zeros: npt.NDArray[np.int64] = (~stored).sum(axis=1, dtype=np.int64)
    return zeros


def csr_zeros_per_channel(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count what isn't stored, as `sparsefeat_kernels.csr_zeros_per_channel` does."""
    places = csr.n_rows * (csr.n_columns // n_channels)
    return places - np.bincount(csr.indices % n_channels, minlength=n_channels)


def csr_zeros_per_position(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count what isn't stored, as `sparsefeat_kernels.csr_zeros_per_position` does."""
    n_positions = csr.n_columns // n_channels
    stored = np.bincount(csr.indices // n_channels, minlength=n_positions)
    return csr.n_rows * n_channels - stored


def csr_active_rows_per_channel(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count active rows, as `sparsefeat_kernels.csr_active_rows_per_channel` does."""
    active = np.zeros((csr.n_rows, n_channels), bool)
    for row in range(csr.n_rows):
        active[row, csr.indices[csr.indptr[row] : csr.indptr[row + 1]] % n_channels] = True
    rows: npt.NDArray[np.int64] = active.sum(axis=0, dtype=np.int64)
    return rows
