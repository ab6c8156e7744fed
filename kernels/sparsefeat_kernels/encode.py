"""Dense rows to compressed sparse rows."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._check import dense_bits
from sparsefeat_kernels.buffers import CsrBuffers
from sparsefeat_kernels.csr import Csr


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
    >>> csr.indptr.tolist(), csr.indices.tolist(), csr.values.tolist()
    ([0, 1, 3], [1, 0, 2], [5.0, 6.0, 7.0])
    """
    from sparsefeat_kernels import _count, _pack

    bits = dense_bits(x)
    n_rows, n_features = x.shape
    buffers = CsrBuffers() if out is None else out
    indptr = buffers.reserve_rows(n_rows)
    row = 0
    while True:
        indices, values = buffers.indices, buffers.values.view(np.int32)
        row = _pack.pack(bits, row, indptr, indices, values)
        if row == n_rows:
            return buffers.view(n_rows, n_features)
        counts = np.empty(n_rows - row, np.int64)
        _count.nonzeros_per_row(bits[row:], counts)
        done = int(indptr[row])
        buffers.reserve_elements(done + int(counts.sum()) + _pack.BLOCK, keep=done)
