"""Reading rows of one layer out of many parts, into one array each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import StoreCorruptError
from sparsefeat.storage import Storage
from sparsefeat.store.format import SHARD, PartEntry, overlapped
from sparsefeat.store.part import Part
from sparsefeat.types import Layer

_INT32 = np.iinfo(np.int32).max


class Parts:
    """The parts of a snapshot, each opened when it is first needed.

    Parameters
    ----------
    storage
        The store's.
    entries
        In the order of the rows.
    layers
        What each of them must have.
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
        """Give one after another; those that weren't open before aren't kept."""
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
            raise StoreCorruptError(
                f"{self.storage.name(part.key)} has other layers than the store, expected the "
                "same: see sparsefeat verify"
            )
        return part


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Wanted rows of one part, ascending, and their places in the result."""

    part: Part
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    def groups(self, sizes: npt.NDArray[np.int64]) -> Iterator[slice]:
        """Cut them into groups of few elements, given how many each row has; or of one row."""
        ends = np.cumsum(sizes)
        start = 0
        while start < len(ends):
            most = ends[start] - sizes[start] + SHARD
            stop = max(start + 1, int(np.searchsorted(ends, most, side="right")))
            yield slice(start, stop)
            start = stop


def by_part(parts: Parts, numbers: npt.NDArray[np.int64]) -> Iterator[Wanted]:
    """Say which of the wanted rows lie in which part, in the order of the store.

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
    dtype = np.int32 if max(total, n_columns) <= _INT32 else np.int64
    indptr: npt.NDArray[Any] = np.zeros(len(numbers) + 1, dtype)
    np.cumsum(nnz, out=indptr[1:])
    indices: npt.NDArray[Any] = np.empty(total, dtype)
    values = np.empty(total, np.float32)

    def read(wanted: Wanted) -> None:
        part = wanted.part
        if part.layers[name].encoding == "csr":
            part.gather_csr(name, wanted.rows, wanted.places, indptr, indices, values)
            return
        for group in wanted.groups(np.full(len(wanted.rows), n_columns)):
            csr = part.some_rows(name, wanted.rows[group])
            for row, place in enumerate(wanted.places[group].tolist()):
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
        for group in wanted.groups(np.diff(part.indptr(name))[wanted.rows]):
            part.expand(name, wanted.rows[group], wanted.places[group], out)

    for _ in overlapped(read, by_part(parts, numbers), parts.storage.reads_at_once):
        pass
    return out
