"""Compressed sparse rows of float32, as scipy.sparse.csr_array lays them out."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Csr:
    """Rows of which only the non-zero elements are kept.

    Row ``r`` holds ``values[indptr[r]:indptr[r + 1]]`` at the columns
    ``indices[indptr[r]:indptr[r + 1]]``.

    Parameters
    ----------
    indptr
        int64 (rows + 1,), starts at 0, never decreases, ends at the number of values.
    indices
        int32 (nnz,), column numbers, strictly increasing within a row.
    values
        float32 (nnz,).
    n_columns
        Elements in a dense row.

    Raises
    ------
    TypeError
        An array of another type.
    ValueError
        Arrays whose shapes or ends don't fit together. What lies between the ends of
        `indptr`, and `indices`, is not looked at here: the kernels check it as they go.

    Examples
    --------
    >>> import numpy as np
    >>> csr = Csr(
    ...     indptr=np.array([0, 1, 3]),
    ...     indices=np.array([2, 0, 1], np.int32),
    ...     values=np.array([5, 6, 7], np.float32),
    ...     n_columns=3,
    ... )
    >>> csr.n_rows, csr.nnz
    (2, 3)
    >>> csr.rows(1, 2).values
    array([6., 7.], dtype=float32)
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    n_columns: int

    def __post_init__(self) -> None:
        for name, dtype in (("indptr", np.int64), ("indices", np.int32), ("values", np.float32)):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise TypeError(
                    f"{name} is {got}, expected an array of {np.dtype(dtype)}: convert it"
                )
            if array.ndim != 1 or not array.flags.c_contiguous or not array.flags.aligned:
                raise ValueError(
                    f"{name} has shape {array.shape} and strides {array.strides}, expected one "
                    "contiguous, aligned axis: pass np.ascontiguousarray of it"
                )
        if not 0 <= self.n_columns < 2**31:
            raise ValueError(f"n_columns is {self.n_columns}, expected 0 to 2**31 - 1")
        if len(self.indices) != len(self.values):
            raise ValueError(
                f"{len(self.indices)} indices for {len(self.values)} values: pass as many"
            )
        if not len(self.indptr) or self.indptr[0] != 0 or self.indptr[-1] != self.nnz:
            raise ValueError(
                f"indptr runs from {self.indptr[:1]} to {self.indptr[-1:]}, "
                f"expected 0 to {self.nnz}, the number of values"
            )

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        """Number of stored elements."""
        return len(self.values)

    def rows(self, start: int, stop: int) -> Self:
        """Rows `start` to `stop` (exclusive); indices and values are views, not copies.

        Raises
        ------
        IndexError
            Unless ``0 <= start <= stop <= n_rows``.
        """
        if not 0 <= start <= stop <= self.n_rows:
            raise IndexError(f"rows {start} to {stop} of {self.n_rows}: stay within them")
        first, last = self.indptr[start], self.indptr[stop]
        return type(self)(
            self.indptr[start : stop + 1] - first,
            self.indices[first:last],
            self.values[first:last],
            self.n_columns,
        )
