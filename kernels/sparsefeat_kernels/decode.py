"""Compressed sparse rows to dense ones."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._check import dense_bits, read_only, refuse_row
from sparsefeat_kernels.csr import Csr


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
    from sparsefeat_kernels import _unpack

    shape = (csr.n_rows, csr.n_columns)
    if out is None:
        out = np.empty(shape, np.float32)
    dense_bits(out)
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, expected {shape}: pass one that fits")
    if not out.flags.writeable:
        raise ValueError("out is read-only, expected a writeable array: pass a copy")
    target = np.asarray(out).view(np.int32)
    indices, values = read_only(csr.indices.view(np.uint32)), read_only(csr.values.view(np.int32))
    row = _unpack.unpack(read_only(csr.indptr), indices, values, target)
    if row != csr.n_rows:
        refuse_row(csr, row)
    return out
