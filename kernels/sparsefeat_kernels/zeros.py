"""Count zeros by row, channel and position, of dense rows and of CSR."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels.csr import Csr, dense_bits, raise_invalid_row, read_only


def count_zeros_per_row(x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Count the zeros of each row; 0.0 and -0.0 both count.

    Parameters
    ----------
    x
        float32 (rows, features), C-contiguous.

    Returns
    -------
    int64 (rows,)

    Raises
    ------
    TypeError, ValueError
        As `encode` does.

    Examples
    --------
    >>> import numpy as np
    >>> count_zeros_per_row(np.array([[0, 5, -0.0], [1, 2, np.nan]], np.float32))
    array([2, 0])
    """
    from sparsefeat_kernels import _csr

    bits = dense_bits(x)
    counts = np.empty(x.shape[0], np.int64)
    _csr.nonzeros_per_row(bits, counts)
    return np.subtract(x.shape[1], counts, out=counts)


def count_zeros_per_channel(x: npt.NDArray[np.float32], n_channels: int) -> npt.NDArray[np.int64]:
    """Count the zeros of each channel over all rows and positions.

    Parameters
    ----------
    x
        float32 (rows, features), C-contiguous; a row is an (H, W, C) activation, flattened.
    n_channels
        C, the extent of the last axis.

    Returns
    -------
    int64 (n_channels,)

    Raises
    ------
    TypeError, ValueError
        As `encode` does; also if the number of features is not a multiple of `n_channels`.

    Examples
    --------
    >>> import numpy as np
    >>> count_zeros_per_channel(np.array([[0, 5, 0, 6], [7, 0, 0, 0]], np.float32), 2)
    array([3, 2])
    """
    from sparsefeat_kernels import _csr

    bits = dense_bits(x)
    positions = _count_positions(x.shape[1], n_channels)
    counts = np.zeros(n_channels, np.int64)
    _csr.nonzeros_per_channel(bits, counts)
    return np.subtract(len(x) * positions, counts, out=counts)


def csr_zeros_per_row(csr: Csr) -> npt.NDArray[np.int64]:
    """Count the zeros of each row of a CSR matrix: the elements it does not store.

    Returns
    -------
    int64 (rows,)
        Equal to `count_zeros_per_row` of the dense rows if no zero is stored, which holds for the
        result of `encode`. `indptr` is not checked.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr_zeros_per_row(encode(np.array([[0, 5, -0.0], [1, 2, 3]], np.float32)))
    array([2, 0])
    """
    return csr.n_columns - np.diff(csr.indptr)


def csr_zeros_per_channel(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count the zeros of each channel of a CSR matrix, over all rows and positions.

    Parameters
    ----------
    csr
        Rows of (H, W, C) activations, flattened.
    n_channels
        C, the extent of the last axis.

    Returns
    -------
    int64 (n_channels,)
        Equal to `count_zeros_per_channel` of the dense rows if no zero is stored.

    Raises
    ------
    ValueError
        The number of columns is not a multiple of `n_channels`, or a row of `csr` has columns that
        are out of range or not strictly increasing.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr_zeros_per_channel(encode(np.array([[0, 5, 0, 6], [7, 0, 0, 0]], np.float32)), 2)
    array([3, 2])
    """
    from sparsefeat_kernels import _csr

    positions = _count_positions(csr.n_columns, n_channels)
    counts = np.zeros(n_channels, np.int64)
    _count_stored(csr, _csr.stored_per_channel, counts)
    return np.subtract(csr.n_rows * positions, counts, out=counts)


def csr_zeros_per_position(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count the zeros of each position of a CSR matrix, over all rows and channels.

    Parameters
    ----------
    csr
        Rows of (H, W, C) activations, flattened.
    n_channels
        C, the extent of the last axis.

    Returns
    -------
    int64 (H * W,)
        Equal to the zeros of the dense rows if no zero is stored.

    Raises
    ------
    ValueError
        As `csr_zeros_per_channel` does.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr_zeros_per_position(encode(np.array([[0, 5, 0, 6], [7, 8, 0, 0]], np.float32)), 2)
    array([1, 3])
    """
    from sparsefeat_kernels import _csr

    counts = np.zeros(_count_positions(csr.n_columns, n_channels), np.int64)
    _count_stored(csr, _csr.stored_per_position, n_channels, counts)
    return np.subtract(csr.n_rows * n_channels, counts, out=counts)


def csr_active_rows_per_channel(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count the rows that store at least one element of each channel.

    Parameters
    ----------
    csr
        Rows of (H, W, C) activations, flattened.
    n_channels
        C, the extent of the last axis.

    Returns
    -------
    int64 (n_channels,)
        0 for a channel without a non-zero element; the number of rows for a channel that has one in
        every row.

    Raises
    ------
    ValueError
        As `csr_zeros_per_channel` does.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr_active_rows_per_channel(encode(np.array([[0, 5, 0, 6], [7, 8, 0, 0]], np.float32)), 2)
    array([1, 2])
    """
    from sparsefeat_kernels import _csr

    _count_positions(csr.n_columns, n_channels)
    counts = np.zeros(n_channels, np.int64)
    _count_stored(csr, _csr.rows_per_channel, counts)
    return counts


def _count_positions(n_features: int, n_channels: int) -> int:
    if n_channels < 1 or n_features % n_channels:
        raise ValueError(
            f"{n_features} features are not a multiple of {n_channels} channels: "
            "pass the extent of the last axis"
        )
    return n_features // n_channels


def _count_stored(csr: Csr, kernel: Callable[..., int], *arguments: object) -> None:
    """Call a kernel that reads indices, and raise if it stopped at an invalid row."""
    indptr, indices = read_only(csr.indptr), read_only(csr.indices.view(np.uint32))
    row = kernel(indptr, indices, csr.n_columns, *arguments)
    if row != csr.n_rows:
        raise_invalid_row(csr, row)
