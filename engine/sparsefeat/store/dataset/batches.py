"""Going through a layer in batches of rows, and what matrices take in memory."""

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, StoreMemoryError
from sparsefeat.system import available_memory, counted, human_bytes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Numbers: TypeAlias = npt.NDArray[np.int64]
M = TypeVar("M", "csr_array[np.float32]", npt.NDArray[np.float32])

BATCH_MEMORY: Final = 256 << 20  # bytes of a batch where nothing else was said
READ_AHEAD: Final = 32 << 20  # bytes up to which small batches are read at once
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
            f"store[{layer!r}].batches(), or open the store with a larger memory_limit"
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


def batches(
    numbers: Numbers,
    row_bytes: Numbers,
    read: Callable[[Numbers], M],
    take: Callable[[M, int, int], M],
    *,
    layer: str,
    overhead: int,
    limit: int | None,
    memory: int | None,
    batch_size: int | None,
) -> Iterator[tuple[Numbers, M]]:
    """Read rows batch by batch: see `Store.batches`.

    Parameters
    ----------
    numbers, row_bytes
        Which rows, and the bytes that each takes.
    read, take
        Reads some rows; and copies consecutive ones out of what was read.
    layer
        For messages.
    overhead
        Bytes that a batch takes besides its rows.
    limit
        The store's limit.
    memory, batch_size
        What was asked for.
    """
    most = sys.maxsize if limit is None else limit
    cap = most
    if batch_size is not None:
        check_count("batch_size", batch_size, "rows")
    elif memory is None:
        cap = min(BATCH_MEMORY, most)
    if memory is not None:
        check_memory(memory, layer, numbers, row_bytes + overhead)
        cap = min(memory, most)
    cuts = fitting(row_bytes, cap, overhead=overhead, most_rows=batch_size)
    sizes = np.array([overhead + row_bytes[a:b].sum() for a, b in cuts], np.int64)
    # What was read at once is held beside the batch that is copied out of it.
    blocks = fitting(sizes, min(READ_AHEAD, cap // 2, most), overhead=0)
    plan = [[numbers[a:b] for a, b in cuts[first:last]] for first, last in blocks]
    return _read(plan, read, take)


def check_memory(memory: int, layer: str, numbers: Numbers, row_bytes: Numbers) -> None:
    """See that every row fits.

    Raises
    ------
    InputError
        One doesn't, or the cap is no number of bytes.
    """
    check_count("memory", memory, "bytes")
    if len(numbers) and row_bytes.max() > memory:
        largest = int(row_bytes.argmax())
        raise InputError(
            f"got memory={memory} ({human_bytes(memory)}), expected room for at least one row: "
            f"row {numbers[largest]} of {layer} takes {human_bytes(int(row_bytes[largest]))}: "
            f"say memory={int(row_bytes[largest])} or more"
        )


def check_count(name: str, value: object, what: str) -> None:
    """See that an argument is a whole number of at least 1.

    Raises
    ------
    InputError
        It isn't.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(
            f"got {name}={value!r}, expected a whole number of {what}, at least 1: change it"
        )


def csr_rows(matrix: "csr_array[np.float32]", start: int, stop: int) -> "csr_array[np.float32]":
    """Copy consecutive rows out of a matrix."""
    from scipy.sparse import csr_array

    indptr = matrix.indptr[start : stop + 1]
    held = slice(indptr[0], indptr[-1])
    rows: csr_array[np.float32] = csr_array(
        (matrix.data[held].copy(), matrix.indices[held].copy(), indptr - indptr[0]),
        shape=(stop - start, matrix.shape[1]),
    )
    rows.has_canonical_format = True
    return rows


def _read(
    plan: list[list[Numbers]], read: Callable[[Numbers], M], take: Callable[[M, int, int], M]
) -> Iterator[tuple[Numbers, M]]:
    for batches in plan:
        if len(batches) == 1:
            # Not given a name, so that it is gone before the next one is read.
            yield batches[0], read(batches[0])
            continue
        block = read(np.concatenate(batches))
        start = 0
        for numbers in batches:
            stop = start + len(numbers)
            yield numbers, take(block, start, stop)
            start = stop
        del block
