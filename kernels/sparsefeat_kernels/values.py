"""Round values to fewer bits, quantize them to codes, and measure the error."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels.csr import Csr, read_only

Float32 = npt.NDArray[np.float32]
MANTISSA = 23  # bits in the mantissa of a float32


def round_mantissa(values: Float32, n_bits: int, *, out: Float32 | None = None) -> Float32:
    """Round to `n_bits` bits of mantissa, to nearest even, as numcodecs' BitRound does.

    Unlike BitRound, it never makes a finite value infinite or a non-zero value zero: such a value
    is rounded the other way. NaN and infinities are left unchanged.

    Parameters
    ----------
    values
        float32 (n,).
    n_bits
        1 to 23; bfloat16 has 7, float16 has 10.
    out
        float32 (n,) to write into; may be `values` itself.

    Returns
    -------
    float32 (n,)
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        An array is not float32 (n,), or `n_bits` is out of range.

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
    """Round to values that float16 can represent, to nearest even; the result is float32.

    A non-zero value never becomes zero. Magnitudes above 65,504 become 65,504 without a warning:
    check the range first. NaN and infinities are left unchanged.

    Parameters
    ----------
    values
        float32 (n,).
    out
        float32 (n,) to write into; may be `values` itself.

    Returns
    -------
    float32 (n,)
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        An array is not float32 (n,).

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


def sum_errors(csr: Csr, stored: Float32) -> npt.NDArray[np.float64]:
    """Compute, for each row, the sums from which relative error and cosine similarity follow.

    Parameters
    ----------
    csr
        Rows with the exact values.
    stored
        float32 (nnz,): the values that are stored instead.

    Returns
    -------
    float64 (rows, 4)
        Sums of squared errors, of squared exact values, of squared stored values, and of the
        products of exact and stored values. Elements that are not finite are left out.

    Raises
    ------
    TypeError, ValueError
        `stored` is not float32 (nnz,).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> sum_errors(encode(np.array([[3, 0, 4]], np.float32)), np.array([3, 5], np.float32))
    array([[ 1., 25., 34., 29.]])
    """
    from sparsefeat_kernels import _values

    check_values(stored, csr.nnz)
    sums = np.zeros((csr.n_rows, 4))
    _values.sum_errors(read_only(csr.indptr), read_only(csr.data), read_only(stored), sums)
    return sums


def check_values(values: Float32, count: int | None = None) -> None:
    """Raise unless `values` is a contiguous float32 array of one axis, with `count` elements."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        got = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise TypeError(f"got {got}, expected an array of float32: convert it with .astype")
    if values.ndim != 1 or not values.flags.c_contiguous or not values.flags.aligned:
        raise ValueError(
            f"got shape {values.shape} and strides {values.strides}, expected one contiguous, "
            "aligned axis: pass np.ascontiguousarray of it"
        )
    if count is not None and len(values) != count:
        raise ValueError(f"got {len(values)} values, expected {count}: pass one for each element")


def _output(values: Float32, out: Float32 | None) -> Float32:
    check_values(values)
    if out is None:
        return np.empty(len(values), np.float32)
    check_values(out, len(values))
    if not out.flags.writeable:
        raise ValueError("out is read-only, expected a writeable array: pass a copy")
    return np.asarray(out)


def update_maxima(csr: Csr, maxima: Float32) -> None:
    """Update the running maximum of each channel with the values of some rows, in place.

    Parameters
    ----------
    csr
        Rows; the channel of a column is its number modulo the number of channels.
    maxima
        float32 (channels,), changed in place.

    Raises
    ------
    TypeError, ValueError
        `maxima` is not float32 (channels,).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> maxima = np.zeros(2, np.float32)
    >>> update_maxima(encode(np.array([[1, 5, 3, 0]], np.float32)), maxima)
    >>> maxima.tolist()
    [3.0, 5.0]
    """
    from sparsefeat_kernels import _values

    _check_scales(maxima)
    _values.update_maxima(_columns(csr.indices), read_only(csr.data), maxima)


def quantize_linear(
    csr: Csr, scales: Float32, *, largest: int, out: Float32 | None = None
) -> tuple[Float32, int]:
    """Convert values to integer codes, ``value = scale * code``, as far as that is exact.

    It is exact if ``scale * code``, computed in float32, has the same bits as the value. The values
    of a model quantized to 8 bits are of this kind.

    Parameters
    ----------
    csr
        Rows; the channel of a column is its number modulo the number of channels.
    scales
        float32 (channels,), finite and positive.
    largest
        The largest code allowed, 1 to 65,535.
    out
        float32 (nnz,) to write into.

    Returns
    -------
    codes : float32 (nnz,)
        Whole numbers from 1 to `largest`.
    n_rows : int
        How many rows from the first on are exact. Codes of later rows are undefined.

    Raises
    ------
    TypeError, ValueError
        `scales` is not float32 (channels,), or `out` is not float32 (nnz,).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr = encode(np.array([[1, 0.75], [0, 0.3]], np.float32))
    >>> codes, n_rows = quantize_linear(csr, np.array([1, 0.25], np.float32), largest=255)
    >>> codes[:2].tolist(), n_rows
    ([1.0, 3.0], 1)
    """
    from sparsefeat_kernels import _values

    _check_scales(scales)
    codes = _codes(csr, out)
    with np.errstate(divide="ignore", over="ignore"):
        per_value = np.float32(1) / scales
    n_rows = _values.quantize_linear(
        read_only(csr.indptr),
        _columns(csr.indices),
        read_only(csr.data),
        read_only(scales),
        read_only(per_value),
        np.float32(largest),
        codes,
    )
    return codes, int(n_rows)


def quantize_squared(
    csr: Csr, scales: Float32, *, largest: int = 255, out: Float32 | None = None
) -> Float32:
    """Convert values to the nearest codes with square companding, ``value = scale * code**2``.

    Parameters
    ----------
    csr
        Rows of non-negative values; the channel of a column is its number modulo the number of
        channels.
    scales
        float32 (channels,), finite and positive.
    largest
        Codes are 1 to `largest`, so that a stored value never becomes zero.
    out
        float32 (nnz,) to write into.

    Returns
    -------
    float32 (nnz,)
        Whole numbers. The error of a value up to ``scale * largest**2`` is at most
        ``scale * (code + 1/2)``.

    Raises
    ------
    TypeError, ValueError
        `scales` is not float32 (channels,), or `out` is not float32 (nnz,).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> csr = encode(np.array([[0.1, 9, 12.5, 100]], np.float32))
    >>> quantize_squared(csr, np.ones(1, np.float32)).tolist()
    [1.0, 3.0, 4.0, 10.0]
    """
    from sparsefeat_kernels import _values

    _check_scales(scales)
    codes = _codes(csr, out)
    per_value = 1 / scales.astype(np.float64)
    columns, values = _columns(csr.indices), read_only(csr.data)
    _values.quantize_squared(columns, values, read_only(per_value), float(largest), codes)
    return codes


def dequantize(
    codes: Float32, indices: npt.NDArray[np.int32], scales: Float32, *, squared: bool
) -> None:
    """Replace codes of `quantize_linear` or `quantize_squared` by their values, in place.

    Parameters
    ----------
    codes
        float32 (n,), replaced by ``scale * code`` or ``scale * code**2``, computed in float32.
    indices
        int32 (n,): column numbers; the channel is the number modulo the number of channels.
    scales
        float32 (channels,).
    squared
        Whether the codes are those of `quantize_squared`.

    Raises
    ------
    TypeError, ValueError
        An array has another type or shape.

    Examples
    --------
    >>> import numpy as np
    >>> codes = np.array([3, 4], np.float32)
    >>> scales = np.array([1, 0.5], np.float32)
    >>> dequantize(codes, np.array([0, 3], np.int32), scales, squared=True)
    >>> codes.tolist()
    [9.0, 8.0]
    """
    from sparsefeat_kernels import _values

    check_values(codes)
    _check_scales(scales)
    if indices.dtype != np.int32 or indices.shape != codes.shape:
        raise TypeError(
            f"got indices of {indices.dtype} and shape {indices.shape}, expected int32 "
            f"{codes.shape}: pass one for each code"
        )
    _values.dequantize(_columns(indices), codes, read_only(scales), squared)


def _codes(csr: Csr, out: Float32 | None) -> Float32:
    if out is None:
        return np.empty(csr.nnz, np.float32)
    check_values(out, csr.nnz)
    return out


def _columns(indices: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    return read_only(indices.view(np.uint32))


def _check_scales(scales: Float32) -> None:
    check_values(scales)
    if not len(scales):
        raise ValueError("got no scales, expected one for each channel")
