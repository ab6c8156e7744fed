"""Split numbers into byte planes for compression, and sum up stored differences."""

from typing import Any

import numpy as np
import numpy.typing as npt

_COMPILED_FROM = 1 << 14  # elements; for fewer, loading the compiled kernel takes longer

_COMPILED_SIZE = 4  # bytes of an element for which there are compiled kernels


def byte_planes(
    numbers: npt.NDArray[Any],
    *,
    differences: bool = False,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Split numbers into byte planes: all lowest bytes first, then all second bytes, and so on.

    Bytes of the same significance resemble each other and compress better together. This is the
    byte shuffle of Blosc.

    Parameters
    ----------
    numbers
        (n,) of any numeric type, contiguous.
    differences
        Split the first number, followed by the difference of each number from the one before,
        modulo 2**32. Only for int32.
    out
        uint8 (itemsize, n), contiguous, to write into.

    Returns
    -------
    uint8 (itemsize, n)
        `out`, or a new array.

    Raises
    ------
    ValueError
        An array has the wrong shape or is not contiguous.
    TypeError
        `differences` is set, and the numbers are not int32.

    Examples
    --------
    >>> byte_planes(np.array([0x0102, 0x0304], np.uint16)).tolist()
    [[2, 4], [1, 3]]
    """
    if numbers.ndim != 1 or not numbers.flags.c_contiguous:
        raise ValueError(
            f"numbers have shape {numbers.shape}, expected one contiguous axis: pass a copy"
        )
    if differences and numbers.dtype != np.int32:
        raise TypeError(f"got {numbers.dtype} for differences, expected int32: convert it")
    shape = (numbers.itemsize, len(numbers))
    planes = np.empty(shape, np.uint8) if out is None else out
    if planes.shape != shape or planes.dtype != np.uint8 or not planes.flags.c_contiguous:
        raise ValueError(f"out is {planes.dtype} {planes.shape}, expected contiguous uint8 {shape}")
    if numbers.itemsize != _COMPILED_SIZE:
        planes[...] = numbers.view(np.uint8).reshape(shape[::-1]).T
        return planes
    from sparsefeat_kernels import _planes

    (_planes.split_differences if differences else _planes.split)(numbers.view(np.uint32), planes)
    return planes


def sum_differences(values: npt.NDArray[np.int32]) -> None:
    """Replace differences by their running sums, in place; sums wrap around at 32 bits.

    Parameters
    ----------
    values
        int32 (n,), contiguous and writeable: the first number, then the difference of each number
        from the one before.

    Raises
    ------
    TypeError
        `values` is not an array of int32.
    ValueError
        `values` does not have one axis, or is not contiguous or not writeable.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.array([3, 1, 4, -6], np.int32)
    >>> sum_differences(values)
    >>> values
    array([3, 4, 8, 2], dtype=int32)
    """
    if not isinstance(values, np.ndarray) or values.dtype != np.int32:
        got = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"values are {got}, expected an array of int32: convert them")
    if values.ndim != 1 or not values.flags.c_contiguous or not values.flags.writeable:
        raise ValueError(
            f"values have shape {values.shape} and strides {values.strides}, expected one "
            "contiguous, writeable axis: pass a copy"
        )
    if len(values) < _COMPILED_FROM:
        np.add.accumulate(values, out=values)
        return
    from sparsefeat_kernels import _planes

    _planes.accumulate(values)
