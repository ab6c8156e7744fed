"""The compiled kernels that split numbers into byte planes and sum up differences."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel


@kernel
def split(words: npt.NDArray[np.uint32], planes: npt.NDArray[np.uint8]) -> None:
    """Write the lowest byte of each word to ``planes[0]``, the next to ``planes[1]``, and so on."""
    first, second, third, fourth = planes[0], planes[1], planes[2], planes[3]
    for i in range(len(words)):
        word = words[i]
        first[i] = np.uint8(word)
        second[i] = np.uint8(word >> np.uint32(8))
        third[i] = np.uint8(word >> np.uint32(16))
        fourth[i] = np.uint8(word >> np.uint32(24))


@kernel
def split_differences(words: npt.NDArray[np.uint32], planes: npt.NDArray[np.uint8]) -> None:
    """Split the first word, then the difference of each word from the one before, as `split`."""
    first, second, third, fourth = planes[0], planes[1], planes[2], planes[3]
    if len(words):
        first[0] = np.uint8(words[0])
        second[0] = np.uint8(words[0] >> np.uint32(8))
        third[0] = np.uint8(words[0] >> np.uint32(16))
        fourth[0] = np.uint8(words[0] >> np.uint32(24))
    later = words[1:]
    for i in range(len(later)):
        word = np.uint32(later[i] - words[i])
        first[i + 1] = np.uint8(word)
        second[i + 1] = np.uint8(word >> np.uint32(8))
        third[i + 1] = np.uint8(word >> np.uint32(16))
        fourth[i + 1] = np.uint8(word >> np.uint32(24))


@kernel
def accumulate(values: npt.NDArray[np.int32]) -> None:
    """Replace each element by the sum of all elements up to and including it."""
    total = np.int32(0)
    for i in range(len(values)):
        total = np.int32(total + values[i])
        values[i] = total
