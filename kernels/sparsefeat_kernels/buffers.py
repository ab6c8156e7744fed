"""Memory that one encode after another writes into."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels.csr import Csr


class CsrBuffers:
    """Arrays for `encode` to write into; they grow when a batch needs more, and never shrink.

    A `Csr` made with ``encode(x, out=buffers)`` is a view into them: the next such call
    overwrites it. Buffers serve one thread at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> buffers = CsrBuffers()
    >>> for batch in np.eye(4, dtype=np.float32).reshape(2, 2, 4):
    ...     encode(batch, out=buffers).indices.tolist()
    [0, 1]
    [2, 3]
    """

    __slots__ = ("indices", "indptr", "values")

    def __init__(self) -> None:
        self.indptr: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self.indices: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self.values: npt.NDArray[np.float32] = np.empty(0, np.float32)

    def reserve_rows(self, n_rows: int) -> npt.NDArray[np.int64]:
        """Make room for that many rows, of none of which anything is known yet."""
        if len(self.indptr) <= n_rows:
            self.indptr = np.empty(n_rows + 1, np.int64)
        self.indptr[0] = 0  # a view of it was given out, and may have been written to
        return self.indptr

    def reserve_elements(self, capacity: int, *, keep: int) -> None:
        """Make room for that many elements, keeping the first `keep`."""
        if len(self.values) >= capacity:
            return
        # A fresh buffer is exact; one that was too small once is likely to be so again.
        capacity = max(capacity, len(self.values) * 5 // 4)
        indices, values = np.empty(capacity, np.int32), np.empty(capacity, np.float32)
        indices[:keep], values[:keep] = self.indices[:keep], self.values[:keep]
        self.indices, self.values = indices, values

    def view(self, n_rows: int, n_columns: int) -> Csr:
        """Give the first `n_rows` rows as they lie here, without copying."""
        nnz = self.indptr[n_rows]
        return Csr(self.indptr[: n_rows + 1], self.indices[:nnz], self.values[:nnz], n_columns)
