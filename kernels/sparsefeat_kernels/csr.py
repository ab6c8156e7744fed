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
    """Rows of which only the non-zero elements are kept.

    Row ``r`` holds ``data[indptr[r]:indptr[r + 1]]`` at the columns
    ``indices[indptr[r]:indptr[r + 1]]``.

    Parameters
    ----------
    indptr
        int64 (rows + 1,), starts at 0, never decreases, ends at the number of values.
    indices
        int32 (nnz,), column numbers, strictly increasing within a row.
    data
        float32 (nnz,), the values.
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
                f"{len(self.indices)} indices for {len(self.data)} values: pass as many"
            )
        if not len(self.indptr) or self.indptr[0] != 0 or self.indptr[-1] != self.nnz:
            raise ValueError(
                f"indptr runs from {self.indptr[:1]} to {self.indptr[-1:]}, "
                f"expected 0 to {self.nnz}, the number of values"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
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
        """Rows `start` to `stop` (exclusive); indices and data are views, not copies.

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
            self.data[first:last],
            self.n_columns,
        )

    def to_scipy(self) -> "csr_array[np.float32]":
        """Give a `scipy.sparse.csr_array` of the same data and indices, which are not copied."""
        from scipy.sparse import csr_array

        # scipy makes int64 of the indices, too, where the row starts are; scikit-learn takes none.
        narrow = self.nnz <= np.iinfo(np.int32).max
        indptr = self.indptr.astype(np.int32) if narrow else self.indptr
        matrix: csr_array[np.float32] = csr_array(
            (self.data, self.indices, indptr), shape=self.shape
        )
        matrix.has_canonical_format = True
        return matrix

    def toarray(self) -> npt.NDArray[np.float32]:
        """Give the dense rows, float32 (rows, columns)."""
        return to_dense(self)


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


def dense_bits(x: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """See float32 (rows, features) as read-only int32 bit patterns, or say why not.

    Integers, because a thread that flushes denormals to zero compares floats wrongly;
    read-only, because compiled code is specialised on it and one variant is enough.
    """
    # A masked array would be read as if it had no mask.
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
    """Give a view that can't be written through, of the plain array that a subclass may wrap."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def raise_invalid_row(csr: Csr, row: int) -> NoReturn:
    """Say that the kernels found this row unsound."""
    raise ValueError(
        f"row {row} of the Csr leaves its bounds or doesn't strictly increase, expected columns "
        f"from 0 to {csr.n_columns - 1} in order: the data are damaged, read or encode them again"
    )


def encode(x: npt.NDArray[np.float32], *, out: CsrBuffers | None = None) -> Csr:
    """Keep what isn't zero.

    Exact: the bit pattern of every element with ``x != 0`` is kept, that of a NaN,
    an infinity or a denormal too. Both zeros are left out, so -0.0 comes back as 0.0.

    Parameters
    ----------
    x
        float32 (rows, features), C-contiguous. One that isn't is refused, not copied
        behind the caller's back.
    out
        Buffers to write into, so that a steady stream allocates nothing. The result is
        then a view of them, valid until they are used again. Without it the result owns
        its memory.

    Raises
    ------
    TypeError
        `x` is no array of float32.
    ValueError
        `x` has other than two axes, isn't C-contiguous, or has 2**31 features or more.

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
    """Put every value at its column and 0.0 everywhere else.

    Parameters
    ----------
    csr
        Rows to expand.
    out
        float32 (rows, columns), C-contiguous and writeable; all of it is overwritten.

    Returns
    -------
    float32 (rows, columns)
        `out`, or a new array.

    Raises
    ------
    TypeError
        `out` is no array of float32.
    ValueError
        `out` has another shape or isn't C-contiguous or writeable; or a row of `csr` leaves its
        bounds or doesn't strictly increase. No memory outside `out` is ever written.

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
        raise ValueError(f"out has shape {out.shape}, expected {shape}: pass one that fits")
    if not out.flags.writeable:
        raise ValueError("out is read-only, expected a writeable array: pass a copy")
    target = np.asarray(out).view(np.int32)
    indices, values = read_only(csr.indices.view(np.uint32)), read_only(csr.data.view(np.int32))
    row = _csr.unpack(read_only(csr.indptr), indices, values, target)
    if row != csr.n_rows:
        raise_invalid_row(csr, row)
    return out
