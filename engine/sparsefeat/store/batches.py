"""Going through a layer in batches of rows, under a cap of memory."""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.store.limits import csr_bytes, fitting
from sparsefeat.store.selection import Rows, row_numbers
from sparsefeat.system.text import human_bytes

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from sparsefeat.store.reader import Store

MEMORY: Final = 256 << 20  # bytes of a batch where nothing else was said
READ_AHEAD: Final = 32 << 20  # bytes up to which small batches are read at once

Numbers: TypeAlias = npt.NDArray[np.int64]
M = TypeVar("M", "csr_array[np.float32]", npt.NDArray[np.float32])


def csr_batches(
    store: "Store", layer: str, rows: Rows | None, memory: int | None, batch_size: int | None
) -> "Iterator[tuple[Numbers, csr_array[np.float32]]]":
    """Read a layer batch by batch: see `Store.batches`."""
    numbers = wanted(store, rows)
    n_columns = store.layers[layer].n_features
    row_bytes = csr_row_bytes(store, layer)[numbers]
    overhead = csr_bytes(0, 0, n_columns)
    plan = _plan(store, layer, numbers, row_bytes, overhead, memory, batch_size)
    return _read(plan, lambda wanted: store[layer, wanted], csr_rows)


def dense_batches(
    store: "Store", layer: str, rows: Rows | None, memory: int | None, batch_size: int | None
) -> Iterator[tuple[Numbers, npt.NDArray[np.float32]]]:
    """Read a layer batch by batch: see `Store.dense_batches`."""
    numbers = wanted(store, rows)
    row_bytes = np.full(len(numbers), 4 * store.layers[layer].n_features, np.int64)
    plan = _plan(store, layer, numbers, row_bytes, 0, memory, batch_size)
    return _read(
        plan,
        lambda wanted: store.dense(layer, wanted),
        lambda block, start, stop: block[start:stop].copy(),
    )


def wanted(store: "Store", rows: Rows | None) -> Numbers:
    """Give the numbers of the rows asked for, int64 (n,), in the order of the store."""
    return np.sort(row_numbers(slice(None) if rows is None else rows, store.n_rows))


def csr_row_bytes(store: "Store", layer: str) -> Numbers:
    """Give the bytes of each row of a layer in a CSR matrix, int64 (N,)."""
    # Batches whose own index would not fit int32 would be larger than any memory.
    return store.nnz(layer) * 8 + 4


def is_dense(store: "Store", layer: str) -> bool:
    """Tell whether every part stores a layer dense: as CSR it would take more memory."""
    return all(part.layers[layer].encoding == "dense" for part in store.parts)


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


def _plan(
    store: "Store",
    layer: str,
    numbers: Numbers,
    row_bytes: Numbers,
    overhead: int,
    memory: int | None,
    batch_size: int | None,
) -> list[list[Numbers]]:
    """Decide on the batches, and on which of them are read at once."""
    limit = sys.maxsize if store.memory_limit is None else store.memory_limit
    cap = limit
    if batch_size is not None:
        check_count("batch_size", batch_size, "rows")
    elif memory is None:
        cap = min(MEMORY, limit)
    if memory is not None:
        check_memory(memory, layer, numbers, row_bytes + overhead)
        cap = min(memory, limit)
    cuts = fitting(row_bytes, cap, overhead=overhead, most_rows=batch_size)
    sizes = np.array([overhead + row_bytes[a:b].sum() for a, b in cuts], np.int64)
    # What was read at once is held beside the batch that is copied out of it.
    blocks = fitting(sizes, min(READ_AHEAD, cap // 2, limit), overhead=0)
    return [[numbers[a:b] for a, b in cuts[first:last]] for first, last in blocks]


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
