"""Reads the rows and layers of a conversion, one stretch of rows at a time."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store import JSON, RowIndex, Store, row_numbers, spans, with_objects
from sparsefeat.types import Layer

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

BYTES_PER_NONZERO = 8  # a float32 and an int32
MAX_INT32 = int(np.iinfo(np.int32).max)
MAX_BYTES = 1 << 30  # of a stretch, so that int32 can count its elements

Advance = Callable[[int, int], None]
"""Called with the number of rows done and their total; an exception stops the conversion."""


class StoreReader:
    """Reads rows and layers of a store, in the order in which they are written.

    Parameters
    ----------
    store
        An open store.
    layers
        Names of its layers.
    rows
        The rows, as in ``store[layer][rows]``; None for all.
    stretch_bytes
        The most bytes to read at once, at 8 bytes per non-zero; a row is never split.
    advance
        Called after each stretch.
    """

    def __init__(
        self,
        store: Store,
        layers: Sequence[str],
        rows: RowIndex | None,
        *,
        stretch_bytes: int,
        advance: Advance | None = None,
    ) -> None:
        self._store = store
        self._numbers = None if rows is None else row_numbers(rows, store.n_rows)
        self._stretch_bytes, self._advance = min(stretch_bytes, MAX_BYTES), advance
        self.n_rows = store.n_rows if self._numbers is None else len(self._numbers)
        self.layers: tuple[Layer, ...] = tuple(store.layers[name] for name in layers)
        self._nnz = {layer.name: self._count(layer) for layer in self.layers}
        self._done, self._passes = 0, 1

    @property
    def obs(self) -> "pd.DataFrame":
        """A pandas frame with a line for each row, indexed by row id."""
        obs = with_objects(self._store.obs)
        return obs if self._numbers is None else obs.iloc[self._numbers]

    @property
    def rejected(self) -> "pd.DataFrame":
        """A pandas frame with a line for each rejected image."""
        return with_objects(self._store.rejected)

    def header(self) -> str:
        """Return layers, settings and provenance as JSON.

        The provenance of parts is a list of distinct entries.
        """
        facts: dict[str, JSON] = {
            "rows": self.n_rows,
            "rejected": len(self.rejected),
            "layers": [self._layer_facts(layer) for layer in self.layers],
            "settings": self._store.settings,
            "provenance": _distinct(self._store.provenance),
        }
        return json.dumps(facts, ensure_ascii=False)

    def nnz(self, layer: str) -> npt.NDArray[np.int64]:
        """Return the number of non-zeros of each row, int64 (rows,)."""
        return self._nnz[layer]

    def indptr(self, layer: str) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
        """Return the row pointers, (rows + 1,): int32 if they fit, else int64.

        With an int64 `indptr`, scipy would also convert int32 indices to int64.
        """
        total = int(self._nnz[layer].sum())
        dtype = np.int32 if total <= MAX_INT32 else np.int64
        indptr: npt.NDArray[Any] = np.zeros(self.n_rows + 1, dtype)
        np.cumsum(self._nnz[layer], out=indptr[1:])
        return indptr

    def is_dense(self, layer: str) -> bool:
        """Return whether all parts hold the layer dense and at least half of it isn't zero.

        A layer stored as codes of one byte may be smaller dense although its float32 values aren't.
        """
        n_elements = self.n_rows * self._store.layers[layer].n_features
        return self._store[layer].is_dense and 2 * int(self._nnz[layer].sum()) >= n_elements

    def read_times(self, passes: int) -> None:
        """Set how many times every layer will be read, for the progress."""
        self._passes = passes

    def stretches(self, *layers: str) -> Iterator[tuple[int, int]]:
        """Split the rows into stretches whose layers together have at most `stretch_bytes`.

        Yields
        ------
        The first row of a stretch, and the row after its last.
        """
        row_bytes = np.zeros(self.n_rows, np.int64)
        for layer in layers:
            if self.is_dense(layer):
                row_bytes += 4 * self._store.layers[layer].n_features
            row_bytes += BYTES_PER_NONZERO * self._nnz[layer]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(row_bytes)])
        return spans(np.arange(self.n_rows), ends, gap=0, most=self._stretch_bytes)

    def csr(self, layer: str, start: int, stop: int) -> "csr_array":
        """Read a stretch of a layer as float32, indices int32."""
        return self._store[layer][self._rows(start, stop)]

    def dense(self, layer: str, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read a stretch of a layer, float32 (rows, features)."""
        return self._store[layer].to_numpy(self._rows(start, stop)).reshape(stop - start, -1)

    def wrote(self, layer: str, start: int, stop: int) -> None:
        """Record that a stretch is written, and report the progress."""
        self._done += int(self._nnz[layer][start:stop].sum())
        total = self._passes * sum(int(nnz.sum()) for nnz in self._nnz.values())
        if self._advance is not None:
            share = self._done / total if total else 1.0
            self._advance(int(self.n_rows * share), self.n_rows)

    def _rows(self, start: int, stop: int) -> RowIndex:
        return slice(start, stop) if self._numbers is None else self._numbers[start:stop]

    def _count(self, layer: Layer) -> npt.NDArray[np.int64]:
        nnz = self._store[layer.name].nnz_per_row
        return nnz if self._numbers is None else nnz[self._numbers]

    def _layer_facts(self, layer: Layer) -> dict[str, JSON]:
        """Return name, shape and non-zeros of a layer, and how the store rounded its values."""
        values = self._store[layer.name].stored_values()
        facts: dict[str, JSON] = {
            "name": layer.name,
            "shape": [*layer.shape],
            "nnz": int(self._nnz[layer.name].sum()),
        }
        return {**facts, "values": [*values]} if values else facts


def _distinct(facts: Iterable[JSON]) -> list[JSON]:
    found: list[JSON] = []
    for fact in facts:
        if fact not in found:
            found.append(fact)
    return found
