"""Neighbours' differences, summed up again: how column numbers are stored."""

import numpy as np
import numpy.typing as npt

_COMPILED_FROM = 1 << 14  # elements; fewer don't repay loading the compiled kernel


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
    from sparsefeat_kernels import _differences

    _differences.accumulate(values)
