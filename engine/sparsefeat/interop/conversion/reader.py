"""What is converted: some rows of some layers, read a stretch at a time."""

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
MAX_BYTES = 1 << 30  # in a stretch; so that its elements are counted in int32, come what may

Advance = Callable[[int, int], None]
"""Takes how many rows are done, of how many; what it raises stops the conversion."""


class StoreReader:
    """Rows and layers of a store, in the order in which they are to be written.

    Parameters
    ----------
    store
        An open store.
    layers
        Names of its layers.
    rows
        Which rows, as in ``store[layer][rows]``; None for all.
    stretch_bytes
        How much is read at once, at 8 bytes for each non-zero; a row is never split.
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
        """One line per row, indexed by row id."""
        obs = with_objects(self._store.obs)
        return obs if self._numbers is None else obs.iloc[self._numbers]

    @property
    def rejected(self) -> "pd.DataFrame":
        """One line per image that gave no row."""
        return with_objects(self._store.rejected)

    def header(self) -> str:
        """Say as JSON what the rows are: layers, settings, and how the parts were made.

        What differs from part to part is a list in which each thing stands once.
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
        """Count non-zeros, int64 (rows,)."""
        return self._nnz[layer]

    def indptr(self, layer: str) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
        """Say where each row starts, (rows + 1,): int32 where that is enough, else int64.

        scipy makes int64 of int32 indices, too, when it is given an int64 `indptr`.
        """
        total = int(self._nnz[layer].sum())
        dtype = np.int32 if total <= MAX_INT32 else np.int64
        indptr: npt.NDArray[Any] = np.zeros(self.n_rows + 1, dtype)
        np.cumsum(self._nnz[layer], out=indptr[1:])
        return indptr

    def is_dense(self, layer: str) -> bool:
        """Tell whether every part of the store holds the layer dense, and half isn't zero.

        Codes of one byte are smaller dense where float32 are not.
        """
        n_elements = self.n_rows * self._store.layers[layer].n_features
        return self._store[layer].is_dense and 2 * int(self._nnz[layer].sum()) >= n_elements

    def read_times(self, passes: int) -> None:
        """Say that every layer will be read so many times."""
        self._passes = passes

    def stretches(self, *layers: str) -> Iterator[tuple[int, int]]:
        """Cut the rows, so that those of these layers together are within bounds.

        Yields
        ------
        The first row of a stretch, and the one after its last.
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
        """Say that a stretch is written."""
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
        """Say what a layer is, and where its values were rounded in the store, how."""
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
