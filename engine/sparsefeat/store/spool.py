"""Rows that wait on disk until all of a part are known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sparsefeat_kernels import Csr


class Spool:
    """Rows in a file of their own, uncompressed, given back batch by batch.

    Parameters
    ----------
    file
        Made when the first rows come.
    n_columns
        Of the rows.
    """

    def __init__(self, file: Path, n_columns: int) -> None:
        self._file, self._n_columns = file, n_columns
        self._batches: list[tuple[int, int]] = []  # rows, elements

    def append(self, csr: Csr) -> None:
        """Append rows; nothing of `csr` is kept."""
        # Opened anew each time: a part that is given up just removes its files.
        with self._file.open("ab") as stream:
            for array in (csr.indptr, csr.indices, csr.values):
                stream.write(array.data)
        self._batches.append((csr.n_rows, csr.nnz))

    def __iter__(self) -> Iterator[Csr]:
        if not self._batches:
            return
        with self._file.open("rb") as stream:
            for n_rows, nnz in self._batches:
                indptr = np.fromfile(stream, np.int64, n_rows + 1)
                indices = np.fromfile(stream, np.int32, nnz)
                values = np.fromfile(stream, np.float32, nnz)
                yield Csr(indptr, indices, values, self._n_columns)

    def clear(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)
        self._batches.clear()
