"""A store, opened for reading."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, LayerError
from sparsefeat.records import Layer
from sparsefeat.store.committed import check_alike, survey
from sparsefeat.store.frames import read_frame, unresolved
from sparsefeat.store.gather import read_csr, read_dense
from sparsefeat.store.json_fields import JSON
from sparsefeat.store.layout import require_parts
from sparsefeat.store.part import Part
from sparsefeat.store.selection import Rows, row_numbers
from sparsefeat.store.tables import REJECTED, ROWS

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Zeros:
    """How many elements of a layer are zero.

    `per_row` is int64 (N,), `per_channel` int64 (C,) over all rows and places.
    """

    per_row: npt.NDArray[np.int64]
    per_channel: npt.NDArray[np.int64]


class Store:
    """The parts that were committed when it was opened, as one matrix per layer.

    Others may append to it meanwhile, which it doesn't see, and compact it, which removes parts:
    reading one of these raises `StoreChangedError`. Open it again for what is there now.

    Parameters
    ----------
    folder
        The store's folder.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    StoreMismatchError
        Its parts don't belong together.
    StoreCorruptError
        A part's metadata are damaged.
    StoreError
        A part is of a newer format.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        require_parts(self.folder)
        self._parts = survey(self.folder).sound()
        check_alike(self._parts, advice="move one of them elsewhere")
        first = self._parts[0]
        self.layers: dict[str, Layer] = {
            stored.layer.name: stored.layer for stored in first.header.layers
        }
        self.settings: dict[str, JSON] = first.header.settings
        self._starts = np.cumsum([0, *(part.header.rows for part in self._parts)])
        self._frames: dict[str, pd.DataFrame] = {}

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    def __len__(self) -> int:
        return self.n_rows

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self._starts[-1])

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts, in the order of their rows."""
        return tuple(self._parts)

    @property
    def provenance(self) -> list[dict[str, JSON]]:
        """What the parts record about how their rows were made, in the order of the rows."""
        return [origin.provenance for part in self._parts for origin in part.header.all_origins()]

    @property
    def obs(self) -> "pd.DataFrame":
        """One line per row, in the order of the rows, indexed by row id."""
        return self._frame(ROWS).copy()

    @property
    def rejected(self) -> "pd.DataFrame":
        """One line per picture that gave no row, with its latest reason."""
        return unresolved(self._frame(REJECTED), self._frame(ROWS))

    def __getitem__(self, key: "str | tuple[str, Rows]") -> "csr_array":
        """Read a layer, or some of its rows, into one float32 matrix.

        ``store["block5_pool"]`` or ``store["block5_pool", rows]``, where rows are a number, a
        slice, numbers in any order (negative ones count from the end), or a mask. Indices are
        int32 where they fit, as scikit-learn wants them.

        Raises
        ------
        LayerError
            There is no such layer.
        InputError
            Rows are out of range.
        StoreCorruptError
            What is on disk is not what was written.
        StoreChangedError
            The store was compacted since it was opened.
        """
        from scipy.sparse import csr_array

        layer, rows = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if not isinstance(layer, str):
            raise InputError(
                f"got store[{key!r}], expected a layer's name, or a name and rows: "
                f"store[{next(iter(self.layers))!r}, 0:10]"
            )
        n_columns = self._layer(layer).n_features
        numbers = row_numbers(rows, self.n_rows)
        arrays = read_csr(self._parts, layer, numbers)
        matrix: csr_array[np.float32] = csr_array(arrays, shape=(len(numbers), n_columns))
        matrix.has_canonical_format = True
        return matrix

    def dense(self, layer: str, rows: Rows | None = None) -> npt.NDArray[np.float32]:
        """Read a layer, or some of its rows, as the network gave it.

        Returns
        -------
        float32 (n, H, W, C), or (n, F) for a layer without places.

        Raises
        ------
        LayerError, InputError, StoreCorruptError
            As reading a matrix does.
        """
        shape = self._layer(layer).shape
        numbers = row_numbers(slice(None) if rows is None else rows, self.n_rows)
        return read_dense(self._parts, layer, numbers).reshape(len(numbers), *shape)

    def zeros(self, layer: str) -> Zeros:
        """Count zeros per row and per channel, without reading the data.

        Raises
        ------
        LayerError
            There is no such layer.
        StoreCorruptError
            What is on disk is not what was written.
        """
        n_features = self._layer(layer).n_features
        per_row = [n_features - np.diff(part.indptr(layer)) for part in self._parts]
        per_channel = [part.zeros_per_channel(layer) for part in self._parts]
        return Zeros(per_row=np.concatenate(per_row), per_channel=np.sum(per_channel, axis=0))

    def _layer(self, name: str) -> Layer:
        if name not in self.layers:
            near = difflib.get_close_matches(name, self.layers, cutoff=0.5) or list(self.layers)
            raise LayerError(
                f"the store has no layer {name!r}, expected one it holds: try {', '.join(near)}"
            )
        return self.layers[name]

    def _frame(self, table: str) -> "pd.DataFrame":
        if table not in self._frames:
            self._frames[table] = read_frame(self._parts, table)
        return self._frames[table]


def open_store(folder: str | Path) -> Store:
    """Open a store for reading: see `Store`.

    Examples
    --------
    >>> open_store("features/")["block5_pool"]  # doctest: +SKIP
    <Compressed Sparse Row sparse array of dtype 'float32' ...>
    """
    return Store(folder)
