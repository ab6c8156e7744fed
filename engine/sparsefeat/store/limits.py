"""What a matrix takes in memory, and refusing one that takes too much."""

from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, StoreMemoryError
from sparsefeat.system.memory import available_memory
from sparsefeat.system.text import counted, human_bytes

SHARE: Final = Fraction(3, 4)  # of the memory available, that one matrix may take
HARMLESS: Final = 64 << 20  # bytes below which it isn't asked what is available
INT32: Final = np.iinfo(np.int32).max


def csr_bytes(n_rows: int, nnz: int, n_columns: int) -> int:
    """Count the bytes of a CSR matrix: float32 values, indices, and one more indptr than rows.

    Examples
    --------
    >>> csr_bytes(2, 10, 100)
    92
    """
    index = 4 if max(nnz, n_columns) <= INT32 else 8
    return nnz * (4 + index) + (n_rows + 1) * index


def check_limit(limit: int | None) -> int | None:
    """See that a limit is a number of bytes.

    Raises
    ------
    InputError
        It isn't.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(
            f"got memory_limit={limit!r}, expected a whole number of bytes of at least 1, or None "
            "for a share of what is available"
        )
    return limit


def require_memory(needed: int, limit: int | None, *, layer: str, n_rows: int, form: str) -> None:
    """Refuse what takes more than the limit, before anything is allocated.

    Parameters
    ----------
    needed
        Bytes of the result.
    limit
        Bytes, or None for three quarters of what is available now.
    layer, n_rows, form
        What is asked for, for the message.

    Raises
    ------
    StoreMemoryError
        It takes more.
    """
    if limit is not None:
        most, whence = limit, "its memory_limit"
    elif needed <= HARMLESS or (available := available_memory()) is None:
        return
    else:
        most, whence = int(SHARE * available), "three quarters of what is available"
    if needed > most:
        raise StoreMemoryError(
            f"{counted(n_rows, 'row')} of {layer} take {human_bytes(needed)} as {form}, expected "
            f"at most {human_bytes(most)} ({whence}): ask for fewer rows, go through them with "
            f"store.batches({layer!r}), or open the store with a larger memory_limit"
        )


def fitting(
    row_bytes: npt.NDArray[np.int64], memory: int, *, overhead: int, most_rows: int | None = None
) -> list[tuple[int, int]]:
    """Cut rows into batches that fit, each as long as it can be.

    Parameters
    ----------
    row_bytes
        int64 (n,), what each row takes; one that takes more than fits is a batch of its own.
    memory
        Bytes a batch may take.
    overhead
        Bytes that a batch takes besides its rows.
    most_rows
        Rows in a batch, at most.

    Returns
    -------
    Where each batch starts, and the place after its last row.

    Examples
    --------
    >>> fitting(np.array([3, 3, 3, 1]), 8, overhead=1)
    [(0, 2), (2, 4)]
    """
    ends = np.cumsum(row_bytes)
    cuts, start, before = [], 0, 0
    while start < len(ends):
        stop = int(np.searchsorted(ends, before + memory - overhead, side="right"))
        stop = min(max(stop, start + 1), start + (most_rows or len(ends)))
        cuts.append((start, stop))
        start, before = stop, int(ends[stop - 1])
    return cuts
