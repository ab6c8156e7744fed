"""What the kernels ask of an array before they read its memory."""

from typing import NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels.csr import Csr

Scalar = TypeVar("Scalar", bound=np.generic)


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


def refuse_row(csr: Csr, row: int) -> NoReturn:
    """Say that the kernels found this row unsound."""
    raise ValueError(
        f"row {row} of the Csr leaves its bounds or doesn't strictly increase, expected columns "
        f"from 0 to {csr.n_columns - 1} in order: the data are damaged, read or encode them again"
    )
