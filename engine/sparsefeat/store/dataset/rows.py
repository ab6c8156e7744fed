"""Rows of a layer: which are requested, and how they are read, at once or in batches."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, StoreMemoryError
from sparsefeat.storage import Storage
from sparsefeat.store.format import SHARD, PartEntry, damaged
from sparsefeat.store.part import Part
from sparsefeat.system import available_memory, counted, format_bytes, overlapped
from sparsefeat.types import Layer

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RowIndex: TypeAlias = (
    int | slice | Sequence[int] | Sequence[bool] | npt.NDArray[np.integer[Any] | np.bool_]
)


Numbers: TypeAlias = npt.NDArray[np.int64]
M = TypeVar("M", "csr_array[np.float32]", npt.NDArray[np.float32])

BATCH_MEMORY: Final = 256 << 20  # bytes of a batch by default
READ_AHEAD: Final = 32 << 20  # bytes up to which small batches are read at once
SHARE: Final = Fraction(3, 4)  # of the memory available, that one matrix may take
HARMLESS: Final = 64 << 20  # bytes below which the available memory isn't looked up
INT32: Final = np.iinfo(np.int32).max


def row_numbers(rows: RowIndex, n_rows: int) -> npt.NDArray[np.int64]:
    """Turn an index as NumPy takes it into row numbers from 0 to `n_rows` - 1.

    Raises
    ------
    InputError
        It is out of range, or not a one-dimensional index.

    Examples
    --------
    >>> row_numbers([-1, 0, 0], 10).tolist()
    [9, 0, 0]
    """
    if isinstance(rows, slice):
        return np.arange(*rows.indices(n_rows), dtype=np.int64)
    try:
        index = np.asarray(rows)
    except (TypeError, ValueError) as exc:
        raise InputError(
            f"got rows as a {type(rows).__name__} ({exc}), expected a number, a slice, a list of "
            "numbers, or a mask: convert it"
        ) from exc
    if index.size == 0 and index.ndim == 1 and index.dtype != np.bool_:
        return np.empty(0, np.int64)
    if index.dtype == np.bool_ and index.shape == (n_rows,):
        return np.flatnonzero(index)
    if index.dtype.kind not in "iu" or index.ndim > 1:
        raise InputError(
            f"got rows of type {index.dtype} and shape {index.shape}, expected a number, a slice, "
            f"a list of numbers, or a mask of shape ({n_rows},): convert it"
        )
    numbers = np.atleast_1d(index).astype(np.int64)
    outside = numbers[(numbers < -n_rows) | (numbers >= n_rows)]
    if len(outside):
        raise InputError(
            f"row {outside[0]} is out of range, expected {-n_rows} to {n_rows - 1}: "
            "the store has no more rows"
        )
    return np.where(numbers < 0, numbers + n_rows, numbers)


def spans(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], *, gap: int, most: int
) -> Iterator[tuple[int, int]]:
    """Cut wanted rows into stretches that are worth reading at once.

    Parameters
    ----------
    rows
        Wanted rows in ascending order.
    offsets
        int64 (all rows + 1,), where each row's elements start.
    gap
        Elements between two wanted rows up to which reading them, too, is cheaper.
    most
        Elements in a stretch, unless a single row has more.

    Yields
    ------
    The first row of a stretch, and the one after its last.
    """
    if not len(rows):
        return
    skipped = offsets[rows[1:]] - offsets[np.minimum(rows[:-1] + 1, rows[1:])]
    breaks = np.flatnonzero(skipped > gap) + 1
    firsts, lasts = rows[np.append(0, breaks)], rows[np.append(breaks, len(rows)) - 1]
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        start, stop = first, last + 1
        while start < stop:
            end = int(np.searchsorted(offsets, offsets[start] + most, side="right")) - 1
            end = min(stop, max(end, start + 1))
            yield start, end
            start = end


def runs(
    rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], *, most: int
) -> Iterator[tuple[int, int]]:
    """Cut wanted rows, ascending, into stretches without any others: see `spans`."""
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        # One by one, since a stretch would bridge rows without elements.
        yield from spans(run, offsets, gap=0, most=most)


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
    """Check that a limit is a number of bytes.

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
    """Refuse a read that takes more than the limit, before anything is allocated.

    Parameters
    ----------
    needed
        Bytes of the result.
    limit
        Bytes, or None for three quarters of what is available now.
    layer, n_rows, form
        What is requested, for the message.

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
            f"{counted(n_rows, 'row')} of {layer} take {format_bytes(needed)} as {form}, expected "
            f"at most {format_bytes(most)} ({whence}): ask for fewer rows, go through them with "
            f"store[{layer!r}].batches(), or open the store with a larger memory_limit"
        )


def fitting(
    row_sizes: npt.NDArray[np.int64], limit: int, *, overhead: int, most_rows: int | None = None
) -> list[tuple[int, int]]:
    """Divide rows into batches that fit, each as large as possible.

    Parameters
    ----------
    row_sizes
        int64 (n,), in bytes or elements; a row above the limit is a batch of its own.
    limit
        Size that a batch may have, in the same unit.
    overhead
        Size of a batch without rows.
    most_rows
        Rows in a batch, at most.

    Returns
    -------
    The first row of each batch, and the one after its last.

    Examples
    --------
    >>> fitting(np.array([3, 3, 3, 1]), 8, overhead=1)
    [(0, 2), (2, 4)]
    """
    ends = np.cumsum(row_sizes)
    cuts, start, before = [], 0, 0
    while start < len(ends):
        stop = int(np.searchsorted(ends, before + limit - overhead, side="right"))
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
        As requested.
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
    # Rows that were read together stay in memory beside the batch that is copied out of them.
    blocks = fitting(sizes, min(READ_AHEAD, cap // 2, most), overhead=0)
    plan = [[numbers[a:b] for a, b in cuts[first:last]] for first, last in blocks]
    return _read(plan, read, take)


def check_memory(memory: int, layer: str, numbers: Numbers, row_bytes: Numbers) -> None:
    """Check that every row fits into `memory`.

    Raises
    ------
    InputError
        One doesn't, or `memory` is not a number of bytes.
    """
    check_count("memory", memory, "bytes")
    if len(numbers) and row_bytes.max() > memory:
        largest = int(row_bytes.argmax())
        raise InputError(
            f"got memory={memory} ({format_bytes(memory)}), expected room for at least one row: "
            f"row {numbers[largest]} of {layer} takes {format_bytes(int(row_bytes[largest]))}: "
            f"say memory={int(row_bytes[largest])} or more"
        )


def check_count(name: str, value: object, what: str) -> None:
    """Check that an argument is a whole number of at least 1.

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
            # Not given a name, so that it is freed before the next one is read.
            yield batches[0], read(batches[0])
            continue
        block = read(np.concatenate(batches))
        start = 0
        for numbers in batches:
            stop = start + len(numbers)
            yield numbers, take(block, start, stop)
            start = stop
        del block


class Parts:
    """The parts of a snapshot, each opened when it is first needed.

    Parameters
    ----------
    storage
        The store's.
    entries
        In the order of the rows.
    layers
        The layers that each of them must have.
    """

    def __init__(
        self, storage: Storage, entries: Sequence[PartEntry], layers: Sequence[Layer]
    ) -> None:
        self.storage, self.entries, self._layers = storage, tuple(entries), tuple(layers)
        self.starts: npt.NDArray[np.int64] = np.cumsum(
            [0, *(entry.n_rows for entry in entries)], dtype=np.int64
        )
        self._parts: dict[int, Part] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, part: object) -> bool:
        return any(part is each for each in self._parts.values())

    def __iter__(self) -> Iterator[Part]:
        """Give one after another; those that weren't open before are not kept open."""
        return overlapped(
            lambda place: self._parts.get(place) or self._open(place),
            range(len(self)),
            self.storage.reads_at_once,
        )

    def some(self, places: Iterable[int]) -> Iterator[Part]:
        """Give some of them, which stay open."""
        return overlapped(self.part, places, self.storage.reads_at_once)

    def part(self, place: int) -> Part:
        """Give one of them, which stays open."""
        if place not in self._parts:
            self._parts[place] = self._open(place)
        return self._parts[place]

    def _open(self, place: int) -> Part:
        part = Part(self.storage, self.entries[place])
        if tuple(stored.layer for stored in part.header.layers) != self._layers:
            raise damaged(self.storage.name(part.key), "it has other layers than the store")
        return part


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Wanted rows of one part, ascending, and their row numbers in the result."""

    part: Part
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


def by_part(parts: Parts, numbers: npt.NDArray[np.int64]) -> Iterator[Wanted]:
    """Give the wanted rows of each part, in the order of the store.

    Parameters
    ----------
    parts
        All parts.
    numbers
        int64 (n,), row numbers in the store, in any order, repeated or not.
    """
    order = np.argsort(numbers, kind="stable")
    ascending = numbers[order]
    bounds = np.searchsorted(ascending, parts.starts)
    places = np.flatnonzero(np.diff(bounds)).tolist()
    for place, part in zip(places, parts.some(places), strict=True):
        first, last = int(bounds[place]), int(bounds[place + 1])
        rows = ascending[first:last] - parts.starts[place]
        kept = part.kept
        yield Wanted(part, rows if kept is None else kept[rows], order[first:last])


def read_csr(
    parts: Parts,
    layer: Layer,
    numbers: npt.NDArray[np.int64],
    nnz: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[Any]]:
    """Read rows, of `nnz` non-zeros each, as values, indices and indptr, allocated once.

    Indices are int32 where they fit.
    """
    name, n_columns = layer.name, layer.n_features
    total = int(nnz.sum())
    dtype = np.int32 if max(total, n_columns) <= INT32 else np.int64
    indptr: npt.NDArray[Any] = np.zeros(len(numbers) + 1, dtype)
    np.cumsum(nnz, out=indptr[1:])
    indices: npt.NDArray[Any] = np.empty(total, dtype)
    values = np.empty(total, np.float32)

    def read(wanted: Wanted) -> None:
        part = wanted.part
        if part.layers[name].encoding == "csr":
            part.gather_csr(name, wanted.rows, wanted.places, indptr, indices, values)
            return
        for start, stop in fitting(np.full(len(wanted.rows), n_columns), SHARD, overhead=0):
            csr = part.some_rows(name, wanted.rows[start:stop])
            for row, place in enumerate(wanted.places[start:stop].tolist()):
                source = slice(csr.indptr[row], csr.indptr[row + 1])
                target = slice(indptr[place], indptr[place + 1])
                indices[target], values[target] = csr.indices[source], csr.data[source]

    for _ in overlapped(read, by_part(parts, numbers), parts.storage.reads_at_once):
        pass
    return values, indices, indptr


def read_dense(
    parts: Parts, layer: Layer, numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Read rows as float32 (rows, features), allocated once."""
    name = layer.name
    out = np.empty((len(numbers), layer.n_features), np.float32)

    def read(wanted: Wanted) -> None:
        part = wanted.part
        if part.layers[name].encoding == "dense":
            part.gather_dense(name, wanted.rows, wanted.places, out)
            return
        nnz = np.diff(part.indptr(name))[wanted.rows]
        for start, stop in fitting(nnz, SHARD, overhead=0):
            part.expand(name, wanted.rows[start:stop], wanted.places[start:stop], out)

    for _ in overlapped(read, by_part(parts, numbers), parts.storage.reads_at_once):
        pass
    return out
