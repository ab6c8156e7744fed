"""The compiled kernels that write runs of one symbol, with a few others between."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel

BYTES_PER_OTHER = 8  # a block for the run before it, and one of itself, at most
STEP = 512  # symbols looked at together


@kernel
def differs(data: npt.NDArray[np.uint8], common: np.uint8) -> bool:
    """Say whether any symbol isn't `common`."""
    difference = np.uint8(0)  # no early exit: that couldn't be vectorised
    for i in range(len(data)):
        difference = np.uint8(difference | np.uint8(data[i] ^ common))
    return bool(difference != 0)


@kernel
def count_others(data: npt.NDArray[np.uint8], common: np.uint8, limit: int) -> int:
    """Count the symbols that aren't `common`, until they are more than `limit`."""
    n_others = 0
    for start in range(0, len(data), STEP):
        step = data[start : start + STEP]
        if differs(step, common):
            for i in range(len(step)):
                n_others += step[i] != common
            if n_others > limit:
                break
    return n_others


@kernel
def write_runs(data: npt.NDArray[np.uint8], common: np.uint8, out: npt.NDArray[np.uint8]) -> int:
    """Write Zstandard blocks: a run's length, or symbols as they are; give their bytes.

    Gives -1 where `out` hasn't room for them: it has with BYTES_PER_OTHER for each symbol other
    than `common`, and 4.
    """
    n, at, i = len(data), 0, 0
    while i < n:
        start, is_run = i, data[i] == common
        if is_run:
            while i + STEP <= n and not differs(data[i : i + STEP], common):
                i += STEP
        while i < n and (data[i] == common) == is_run:
            i += 1
        if at + 3 + (1 if is_run else i - start) > len(out):
            return -1
        header = (i - start) << 3 | (2 if is_run else 0)
        for number in range(3):
            out[at + number] = (header >> (8 * number)) & 255
        at += 3
        for place in range(start, start + 1 if is_run else i):
            out[at] = data[place]
            at += 1
    return at
