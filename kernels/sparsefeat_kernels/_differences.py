"""The compiled kernel that sums differences up."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel


@kernel
def accumulate(values: npt.NDArray[np.int32]) -> None:
    """Replace each element by the sum of all up to it."""
    total = np.int32(0)
    for place in range(len(values)):
        total = np.int32(total + values[place])
        values[place] = total
