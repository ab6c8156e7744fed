"""Reading rows of one layer out of many parts, into one array each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store.layout import SHARD
from sparsefeat.store.part import Part

_INT32 = np.iinfo(np.int32).max


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


def by_part(parts: Sequence[Part], numbers: npt.NDArray[np.int64]) -> Iterator[Wanted]:
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
    starts = np.cumsum([0, *(part.header.rows for part in parts)])
    bounds = np.searchsorted(ascending, starts).tolist()
    for part, start, first, last in zip(parts, starts, bounds, bounds[1:], strict=False):
        if last > first:
            yield Wanted(part, ascending[first:last] - start, order[first:last])


def read_csr(
    parts: Sequence[Part],
    layer: str,
    numbers: npt.NDArray[np.int64],
    nnz: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[Any]]:
    """Read rows, of `nnz` non-zeros each, as values, indices and indptr, allocated once.

    Indices are int32 where they fit.
    """
    n_columns = parts[0].layers[layer].layer.n_features
    total = int(nnz.sum())
    dtype = np.int32 if max(total, n_columns) <= _INT32 else np.int64
    indptr: npt.NDArray[Any] = np.zeros(len(numbers) + 1, dtype)
    np.cumsum(nnz, out=indptr[1:])
    indices: npt.NDArray[Any] = np.empty(total, dtype)
    values = np.empty(total, np.float32)
    for wanted in by_part(parts, numbers):
        part = wanted.part
        if part.layers[layer].encoding == "csr":
            part.gather_csr(layer, wanted.rows, wanted.places, indptr, indices, values)
            continue
        for group in wanted.groups(np.full(len(wanted.rows), n_columns)):
            csr = part.some_rows(layer, wanted.rows[group])
            for row, place in enumerate(wanted.places[group].tolist()):
                source = slice(csr.indptr[row], csr.indptr[row + 1])
                target = slice(indptr[place], indptr[place + 1])
                indices[target], values[target] = csr.indices[source], csr.values[source]
    return values, indices, indptr


def read_dense(
    parts: Sequence[Part], layer: str, numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Read rows as float32 (rows, features), allocated once."""
    out = np.empty((len(numbers), parts[0].layers[layer].layer.n_features), np.float32)
    for wanted in by_part(parts, numbers):
        part = wanted.part
        if part.layers[layer].encoding == "dense":
            part.gather_dense(layer, wanted.rows, wanted.places, out)
            continue
        for group in wanted.groups(np.diff(part.indptr(layer))[wanted.rows]):
            part.expand(layer, wanted.rows[group], wanted.places[group], out)
    return out
