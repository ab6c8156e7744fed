"""Compressed sparse rows of float32, as scipy.sparse.csr_array lays them out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Csr:
    """A matrix of rows in compressed sparse row format: only non-zero elements are stored.

    Row ``r`` holds ``data[indptr[r]:indptr[r + 1]]`` at the columns
    ``indices[indptr[r]:indptr[r + 1]]``.

    Parameters
    ----------
    indptr
        int64 (rows + 1,): starts at 0, never decreases, ends at the number of values.
    indices
        int32 (nnz,): column numbers, strictly increasing within a row.
    data
        float32 (nnz,): the values.
    n_columns
        Number of elements in a dense row.

    Raises
    ------
    TypeError
        An array has another type.
    ValueError
        The shapes of the arrays, or the first and last element of `indptr`, contradict each
        other. The other elements of `indptr` and those of `indices` are not checked here; the
        kernels check them while they read.

    Examples
    --------
    >>> import numpy as np
    >>> csr = Csr(
    ...     indptr=np.array([0, 1, 3]),
    ...     indices=np.array([2, 0, 1], np.int32),
    ...     data=np.array([5, 6, 7], np.float32),
    ...     n_columns=3,
    ... )
    >>> csr.n_rows, csr.nnz
    (2, 3)
    >>> csr.rows(1, 2).data
    array([6., 7.], dtype=float32)
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    data: npt.NDArray[np.float32]
    n_columns: int

    def __post_init__(self) -> None:
        for name, dtype in (("indptr", np.int64), ("indices", np.int32), ("data", np.float32)):
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
        if len(self.indices) != len(self.data):
            raise ValueError(
                f"{len(self.indices)} indices for {len(self.data)} values, expected one for each"
            )
        if not len(self.indptr) or self.indptr[0] != 0 or self.indptr[-1] != self.nnz:
            raise ValueError(
                f"indptr runs from {self.indptr[:1]} to {self.indptr[-1:]}, "
                f"expected 0 to {self.nnz}, the number of values"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.n_rows, self.n_columns

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Type of the values: float32."""
        return np.dtype(np.float32)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        """Number of stored elements."""
        return len(self.data)

    def rows(self, start: int, stop: int) -> Self:
        """Return rows `start` to `stop` (exclusive); their indices and data are views.

        Raises
        ------
        IndexError
            Unless ``0 <= start <= stop <= n_rows``.
        """
        if not 0 <= start <= stop <= self.n_rows:
            raise IndexError(
                f"got rows {start} to {stop}, expected 0 <= start <= stop <= {self.n_rows}"
            )
        first, last = self.indptr[start], self.indptr[stop]
        return type(self)(
            self.indptr[start : stop + 1] - first,
            self.indices[first:last],
            self.data[first:last],
            self.n_columns,
        )

    def to_scipy(self) -> "csr_array[np.float32]":
        """Return a `scipy.sparse.csr_array` that shares data and indices with this object."""
        from scipy.sparse import csr_array

        # If indptr is int64, scipy converts the indices to int64 too, and scikit-learn refuses
        # such a matrix.
        narrow = self.nnz <= np.iinfo(np.int32).max
        indptr = self.indptr.astype(np.int32) if narrow else self.indptr
        matrix: csr_array[np.float32] = csr_array(
            (self.data, self.indices, indptr), shape=self.shape
        )
        matrix.has_canonical_format = True
        return matrix

    def toarray(self) -> npt.NDArray[np.float32]:
        """Return the dense rows, float32 (rows, columns)."""
        return to_dense(self)


class CsrBuffers:
    """Reusable arrays that `encode` writes into; they grow as needed and never shrink.

    A `Csr` returned by ``encode(x, out=buffers)`` is a view of the buffers: the next call with the
    same buffers overwrites it. Only one thread at a time may use a `CsrBuffers`.

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
        """Make room for `n_rows` rows and discard what the buffers held."""
        if len(self.indptr) <= n_rows:
            self.indptr = np.empty(n_rows + 1, np.int64)
        self.indptr[0] = 0  # a caller may have written to a view of it
        return self.indptr

    def reserve_elements(self, capacity: int, *, keep: int) -> None:
        """Make room for `capacity` elements, keeping the first `keep`."""
        if len(self.values) >= capacity:
            return
        # The first allocation is exact. A buffer that was too small once gets a quarter more,
        # because the next batch is likely to be larger still.
        capacity = max(capacity, len(self.values) * 5 // 4)
        indices, values = np.empty(capacity, np.int32), np.empty(capacity, np.float32)
        indices[:keep], values[:keep] = self.indices[:keep], self.values[:keep]
        self.indices, self.values = indices, values

    def view(self, n_rows: int, n_columns: int) -> Csr:
        """Return the first `n_rows` rows as a `Csr` that shares this memory."""
        nnz = self.indptr[n_rows]
        return Csr(self.indptr[: n_rows + 1], self.indices[:nnz], self.values[:nnz], n_columns)


def dense_bits(x: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Return float32 (rows, features) as a read-only view of its int32 bit patterns.

    The kernels compare integers because float comparison is wrong in a thread that flushes
    denormals to zero. The view is read-only because numba specialises on writability, and one
    specialisation is enough.

    Raises
    ------
    TypeError, ValueError
        `x` is not a C-contiguous array of float32 with two axes and fewer than 2**31 features.
    """
    # The mask of a masked array would be ignored.
    plain = isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray)
    if not plain or x.dtype != np.float32:
        got = x.dtype if plain else type(x).__name__
        raise TypeError(f"got {got}, expected an array of float32: convert it with .astype")
    if x.ndim != 2:
        raise ValueError(f"got shape {x.shape}, expected (rows, features): reshape it")
    if not x.flags.c_contiguous or not x.flags.aligned:
        raise ValueError(
            f"got strides {x.strides} for shape {x.shape}, expected C-contiguous and aligned: "
            "pass np.ascontiguousarray of it"
        )
    if x.shape[1] >= 2**31:
        raise ValueError(f"got {x.shape[1]} features, expected fewer than 2**31: split the rows")
    return read_only(x).view(np.int32)


def read_only(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Return a read-only view as a plain `numpy.ndarray`, also for a subclass of it."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def raise_invalid_row(csr: Csr, row: int) -> NoReturn:
    """Raise the ValueError for a row in which a kernel found invalid columns."""
    raise ValueError(
        f"row {row} of the Csr has columns that are out of range or not strictly increasing, "
        f"expected columns from 0 to {csr.n_columns - 1} in order: the data are damaged, read or "
        "encode them again"
    )


def encode(x: npt.NDArray[np.float32], *, out: CsrBuffers | None = None) -> Csr:
    """Encode dense rows as CSR, exactly.

    Every element with ``x != 0`` keeps its bit pattern, including NaN, infinities and denormals.
    Zeros of either sign are dropped, so `to_dense` returns 0.0 for -0.0.

    Parameters
    ----------
    x
        float32 (rows, features), C-contiguous. Another array is an error; it is never copied
        silently.
    out
        Buffers to write into, so that encoding many batches allocates no memory. The result is
        then a view of the buffers and valid until they are used again. By default the result
        owns its memory.

    Raises
    ------
    TypeError
        `x` is not an array of float32.
    ValueError
        `x` does not have two axes, is not C-contiguous, or has 2**31 features or more.

    Examples
    --------
    >>> import numpy as np
    >>> csr = encode(np.array([[0, 5, 0], [6, 0, 7]], np.float32))
    >>> csr.indptr.tolist(), csr.indices.tolist(), csr.data.tolist()
    ([0, 1, 3], [1, 0, 2], [5.0, 6.0, 7.0])
    """
    from sparsefeat_kernels import _csr

    bits = dense_bits(x)
    n_rows, n_features = x.shape
    buffers = CsrBuffers() if out is None else out
    indptr = buffers.reserve_rows(n_rows)
    row = 0
    while True:
        indices, values = buffers.indices, buffers.values.view(np.int32)
        row = _csr.pack(bits, row, indptr, indices, values)
        if row == n_rows:
            return buffers.view(n_rows, n_features)
        counts = np.empty(n_rows - row, np.int64)
        _csr.nonzeros_per_row(bits[row:], counts)
        done = int(indptr[row])
        buffers.reserve_elements(done + int(counts.sum()) + _csr.PACK_BLOCK, keep=done)


def to_dense(csr: Csr, *, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """Expand CSR to dense rows, with 0.0 for elements that are not stored.

    Parameters
    ----------
    csr
        Rows to expand.
    out
        float32 (rows, columns), C-contiguous and writeable; every element is overwritten.

    Returns
    -------
    float32 (rows, columns)
        `out`, or a new array.

    Raises
    ------
    TypeError
        `out` is not an array of float32.
    ValueError
        `out` has another shape or is not C-contiguous or not writeable; or a row of `csr` has
        columns that are out of range or not strictly increasing. Memory outside of `out` is never
        written.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> to_dense(encode(np.array([[0, 5, -0.0]], np.float32)))
    array([[0., 5., 0.]], dtype=float32)
    """
    from sparsefeat_kernels import _csr

    shape = (csr.n_rows, csr.n_columns)
    if out is None:
        out = np.empty(shape, np.float32)
    dense_bits(out)
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, expected {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only, expected a writeable array: pass a copy")
    target = np.asarray(out).view(np.int32)
    indices, values = read_only(csr.indices.view(np.uint32)), read_only(csr.data.view(np.int32))
    row = _csr.unpack(read_only(csr.indptr), indices, values, target)
    if row != csr.n_rows:
        raise_invalid_row(csr, row)
    return out
