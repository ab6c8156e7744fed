"""Numbers to byte planes, and differences of neighbours: how numbers are stored."""

from typing import Any

import numpy as np
import numpy.typing as npt

_COMPILED_FROM = 1 << 14  # elements; fewer don't repay loading the compiled kernel

_COMPILED_SIZE = 4  # bytes of an element for which there are compiled kernels


def byte_planes(
    numbers: npt.NDArray[Any],
    *,
    differences: bool = False,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Lay the bytes of numbers apart by their weight: those of like weight compress together.

    Parameters
    ----------
    numbers
        (n,) of any type that has no references, contiguous.
    differences
        Take the first number and the differences of each from the one before instead, modulo 2^32;
        for int32 alone.
    out
        uint8 (bytes of an element, n), contiguous, to write into.

    Raises
    ------
    ValueError
        A shape is wrong, or memory isn't contiguous.
    TypeError
        Differences of another type than int32.

    Examples
    --------
    >>> byte_planes(np.array([0x0102, 0x0304], np.uint16)).tolist()
    [[2, 4], [1, 3]]
    """
    if numbers.ndim != 1 or not numbers.flags.c_contiguous:
        raise ValueError(f"numbers of shape {numbers.shape}, expected one contiguous axis")
    if differences and numbers.dtype != np.int32:
        raise TypeError(f"differences of {numbers.dtype}, expected int32")
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
    """Replace differences by running sums, in place; what exceeds int32 wraps around.

    Parameters
    ----------
    values
        int32 (n,), contiguous and writeable: the first element, then each one's difference from
        the one before.

    Raises
    ------
    TypeError
        Another type.
    ValueError
        Another number of axes, or memory that isn't contiguous or writeable.

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
