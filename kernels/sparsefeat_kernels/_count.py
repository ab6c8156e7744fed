"""The compiled kernels that count what isn't zero in dense rows."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel

MAGNITUDE = 0x7FFFFFFF  # all of a float32's bits but its sign


@kernel
def nonzeros_per_row(bits: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> None:
    """Set `counts` (rows,) to each row's elements other than 0 and -0."""
    for row in range(len(bits)):
        features = bits[row]  # a slice: numba then knows that no index is negative, and vectorises
        count = 0
        for feature in range(len(features)):
            count += (features[feature] & MAGNITUDE) != 0
        counts[row] = count


@kernel
def nonzeros_per_channel(bits: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> None:
    """Add each channel's elements other than 0 and -0 to `counts` (channels,)."""
    n_channels = len(counts)
    for row in range(len(bits)):
        for start in range(0, bits.shape[1], n_channels):
            place = bits[row, start : start + n_channels]
            for channel in range(n_channels):
                counts[channel] += (place[channel] & MAGNITUDE) != 0
