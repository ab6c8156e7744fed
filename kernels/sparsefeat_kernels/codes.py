"""Values as whole numbers of steps, one step for each channel."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._check import read_only
from sparsefeat_kernels.csr import Csr
from sparsefeat_kernels.values import check_values

Float32 = npt.NDArray[np.float32]


def raise_maxima(csr: Csr, maxima: Float32) -> None:
    """Raise each channel's maximum to its largest value in these rows.

    Parameters
    ----------
    csr
        Rows; a column's channel is the remainder of its number by the number of channels.
    maxima
        float32 (channels,), changed in place.

    Raises
    ------
    TypeError, ValueError
        `maxima` is another array.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> maxima = np.zeros(2, np.float32)
    >>> raise_maxima(encode(np.array([[1, 5, 3, 0]], np.float32)), maxima)
    >>> maxima.tolist()
    [3.0, 5.0]
    """
    from sparsefeat_kernels import _values

    _check_steps(maxima)
    _values.raise_maxima(_columns(csr.indices), read_only(csr.values), maxima)


def count_steps(
    csr: Csr, steps: Float32, *, largest: int, out: Float32 | None = None
) -> tuple[Float32, int]:
    """Count how many steps of its channel each value is, where that is exact.

    A number times its step, in float32, must be the value to the last bit.

    Parameters
    ----------
    csr
        Rows; a column's channel is the remainder of its number by the number of channels.
    steps
        float32 (channels,), finite and positive.
    largest
        The largest number that may be counted; at least 1, at most 65,535.
    out
        float32 (nnz,) to write into.

    Returns
    -------
    float32 (nnz,), int
        The numbers, and how many rows from the first on are exact: what comes behind those is
        of no use.

    Raises
    ------
    TypeError, ValueError
        `steps` or `out` are other arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr = encode(np.array([[1, 0.75], [0, 0.3]], np.float32))
    >>> numbers, n_rows = count_steps(csr, np.array([1, 0.25], np.float32), largest=255)
    >>> numbers[:2].tolist(), n_rows
    ([1.0, 3.0], 1)
    """
    from sparsefeat_kernels import _values

    _check_steps(steps)
    numbers = _numbers(csr, out)
    with np.errstate(divide="ignore", over="ignore"):
        per_value = np.float32(1) / steps
    n_rows = _values.count_steps(
        read_only(csr.indptr),
        _columns(csr.indices),
        read_only(csr.values),
        read_only(steps),
        read_only(per_value),
        np.float32(largest),
        numbers,
    )
    return numbers, int(n_rows)


def count_roots(
    csr: Csr, steps: Float32, *, largest: int = 255, out: Float32 | None = None
) -> Float32:
    """Find for each value the number whose square in steps of its channel is nearest.

    Parameters
    ----------
    csr
        Rows of values from 0 on; a column's channel is the remainder of its number by the number
        of channels.
    steps
        float32 (channels,), finite and positive.
    largest
        The numbers go from 1 to this: none becomes 0.
    out
        float32 (nnz,) to write into.

    Returns
    -------
    float32 (nnz,)
        Whole numbers. ``step * number**2`` is off by ``step * (number + 1/2)`` at most, where the
        value is at most ``step * largest**2``.

    Raises
    ------
    TypeError, ValueError
        `steps` or `out` are other arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr = encode(np.array([[0.1, 9, 12.5, 100]], np.float32))
    >>> count_roots(csr, np.ones(1, np.float32)).tolist()
    [1.0, 3.0, 4.0, 10.0]
    """
    from sparsefeat_kernels import _values

    _check_steps(steps)
    numbers = _numbers(csr, out)
    per_value = 1 / steps.astype(np.float64)
    columns, values = _columns(csr.indices), read_only(csr.values)
    _values.count_roots(columns, values, read_only(per_value), float(largest), numbers)
    return numbers


def scale_numbers(
    numbers: Float32, indices: npt.NDArray[np.int32], steps: Float32, *, squared: bool
) -> None:
    """Put back the values that `count_steps` or `count_roots` counted, in place.

    Parameters
    ----------
    numbers
        float32 (n,), changed in place: a step times a number, or times its square, in float32.
    indices
        int32 (n,), column numbers, of which the channels follow.
    steps
        float32 (channels,).
    squared
        Whether they are roots.

    Raises
    ------
    TypeError, ValueError
        Other arrays.

    Examples
    --------
    >>> import numpy as np
    >>> numbers = np.array([3, 4], np.float32)
    >>> scale_numbers(
    ...     numbers, np.array([0, 3], np.int32), np.array([1, 0.5], np.float32), squared=True
    ... )
    >>> numbers.tolist()
    [9.0, 8.0]
    """
    from sparsefeat_kernels import _values

    check_values(numbers)
    _check_steps(steps)
    if indices.dtype != np.int32 or indices.shape != numbers.shape:
        raise TypeError(
            f"got indices of {indices.dtype} and shape {indices.shape}, expected int32 "
            f"{numbers.shape}: pass as many"
        )
    _values.scale_numbers(_columns(indices), numbers, read_only(steps), squared)


def _numbers(csr: Csr, out: Float32 | None) -> Float32:
    if out is None:
        return np.empty(csr.nnz, np.float32)
    check_values(out, csr.nnz)
    return out


def _columns(indices: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    return read_only(indices.view(np.uint32))


def _check_steps(steps: Float32) -> None:
    check_values(steps)
    if not len(steps):
        raise ValueError("got no steps, expected one for each channel")
