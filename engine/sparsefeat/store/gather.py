"""Reading rows of one layer out of many parts, into one array each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store.layout import CHUNK, SHARD
from sparsefeat.store.part import Part
from sparsefeat.store.selection import spans
from sparsefeat_kernels import Csr

_INT32 = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Wanted rows of one part, ascending, and their places in the result."""

    part: Part
    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A stretch of one part, and where its wanted rows go."""

    start: int
    stop: int
    wanted: npt.NDArray[np.int64]  # rows counted from `start`
    places: npt.NDArray[np.int64]  # rows of the result

    @property
    def whole(self) -> bool:
        """Whether every row is wanted once, in order, without a gap in the result."""
        count = self.stop - self.start
        return (
            len(self.wanted) == count
            and bool((np.diff(self.wanted) == 1).all())
            and bool((np.diff(self.places) == 1).all())
        )


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


def pieces(wanted: Wanted, layer: str) -> Iterator[Piece]:
    """Cut the wanted rows of a part into stretches that are read at once."""
    part, rows = wanted.part, wanted.rows
    for begin, end in spans(rows, part.offsets(layer), gap=CHUNK, most=SHARD):
        lower, upper = np.searchsorted(rows, [begin, end])
        yield Piece(
            start=begin,
            stop=end,
            wanted=rows[lower:upper] - begin,
            places=wanted.places[lower:upper],
        )


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
        for piece in pieces(wanted, layer):
            # Not given a name, so that it is gone before the next one is read.
            _copy_rows(part.rows(layer, piece.start, piece.stop), piece, values, indices, indptr)
    return values, indices, indptr


def _copy_rows(
    csr: Csr,
    piece: Piece,
    values: npt.NDArray[np.float32],
    indices: npt.NDArray[Any],
    indptr: npt.NDArray[Any],
) -> None:
    """Copy the wanted rows of a stretch to their places."""
    if piece.whole:
        begin = indptr[piece.places[0]]
        indices[begin : begin + csr.nnz] = csr.indices
        values[begin : begin + csr.nnz] = csr.values
        return
    for row, place in zip(piece.wanted.tolist(), piece.places.tolist(), strict=True):
        source = slice(csr.indptr[row], csr.indptr[row + 1])
        target = slice(indptr[place], indptr[place + 1])
        indices[target], values[target] = csr.indices[source], csr.values[source]


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
        for piece in pieces(wanted, layer):
            if piece.whole:
                target = out[piece.places[0] : piece.places[-1] + 1]
                part.dense_rows(layer, piece.start, piece.stop, out=target)
            else:
                dense = part.dense_rows(layer, piece.start, piece.stop)
                out[piece.places] = dense[piece.wanted]
    return out
