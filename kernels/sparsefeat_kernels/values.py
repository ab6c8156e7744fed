"""Values of fewer bits, and what that costs."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._check import read_only
from sparsefeat_kernels.csr import Csr

Float32 = npt.NDArray[np.float32]
MANTISSA = 23  # bits of a float32's


def round_mantissa(values: Float32, n_bits: int, *, out: Float32 | None = None) -> Float32:
    """Round to `n_bits` bits of mantissa, to nearest even, as numcodecs' BitRound does.

    Other than there, no finite value becomes infinite and none but 0 becomes 0: what would, is
    rounded the other way. NaN and infinities stay as they are.

    Parameters
    ----------
    values
        float32 (n,).
    n_bits
        1 to 23; bfloat16 has 7, float16 has 10.
    out
        float32 (n,) to write into, `values` itself if you like.

    Returns
    -------
    float32 (n,)
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        Other arrays, or another number of bits.

    Examples
    --------
    >>> import numpy as np
    >>> round_mantissa(np.array([1.2, -3.3, 0], np.float32), 2).tolist()
    [1.25, -3.5, 0.0]
    """
    from sparsefeat_kernels import _values

    if not 1 <= n_bits <= MANTISSA:
        raise ValueError(f"got {n_bits} bits of mantissa, expected 1 to {MANTISSA}")
    out = _output(values, out)
    dropped = MANTISSA - n_bits
    _values.round_mantissas(read_only(values).view(np.uint32), dropped, out.view(np.uint32))
    return out


def round_half(values: Float32, *, out: Float32 | None = None) -> Float32:
    """Round to what float16 can hold, to nearest even; none but 0 becomes 0.

    What is beyond 65,504 becomes that: look first. NaN and infinities stay as they are.

    Parameters
    ----------
    values
        float32 (n,).
    out
        float32 (n,) to write into, `values` itself if you like.

    Returns
    -------
    float32 (n,)
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        Other arrays.

    Examples
    --------
    >>> import numpy as np
    >>> round_half(np.array([2049, 1e-9], np.float32)).tolist()  # 2**-24 is the smallest
    [2048.0, 5.960464477539063e-08]
    """
    from sparsefeat_kernels import _values

    out = _output(values, out)
    _values.round_halves(read_only(values), out)
    return out


def error_sums(csr: Csr, stored: Float32) -> npt.NDArray[np.float64]:
    """Sum up how far stored values are from exact ones, row by row, in double precision.

    Parameters
    ----------
    csr
        Rows with exact values.
    stored
        float32 (nnz,), what stands for them.

    Returns
    -------
    float64 (rows, 4)
        Sums of squared errors, of exact values squared, of stored ones squared, and of their
        products. Elements that aren't finite are left out.

    Raises
    ------
    TypeError, ValueError
        `stored` is another array.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> error_sums(encode(np.array([[3, 0, 4]], np.float32)), np.array([3, 5], np.float32))
    array([[ 1., 25., 34., 29.]])
    """
    from sparsefeat_kernels import _values

    check_values(stored, csr.nnz)
    sums = np.zeros((csr.n_rows, 4))
    _values.error_sums(read_only(csr.indptr), read_only(csr.values), read_only(stored), sums)
    return sums


def check_values(values: Float32, count: int | None = None) -> None:
    """Refuse what isn't a contiguous array of float32 of one axis."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        got = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise TypeError(f"got {got}, expected an array of float32: convert it with .astype")
    if values.ndim != 1 or not values.flags.c_contiguous or not values.flags.aligned:
        raise ValueError(
            f"got shape {values.shape} and strides {values.strides}, expected one contiguous, "
            "aligned axis: pass np.ascontiguousarray of it"
        )
    if count is not None and len(values) != count:
        raise ValueError(f"got {len(values)} values, expected {count}: pass as many")


def _output(values: Float32, out: Float32 | None) -> Float32:
    check_values(values)
    if out is None:
        return np.empty(len(values), np.float32)
    check_values(out, len(values))
    if not out.flags.writeable:
        raise ValueError("out is read-only, expected a writeable array: pass a copy")
    return np.asarray(out)
