"""A store, opened for reading."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.dependencies import importing
from sparsefeat.errors import InputError, LayerError, StoreChangedError
from sparsefeat.paths import checked_path
from sparsefeat.records import Layer
from sparsefeat.store.annotated import annotated
from sparsefeat.store.batches import Numbers, csr_batches, dense_batches
from sparsefeat.store.committed import check_alike, survey
from sparsefeat.store.frames import read_frame, unresolved
from sparsefeat.store.gather import read_csr, read_dense
from sparsefeat.store.json_fields import JSON
from sparsefeat.store.layout import require_parts
from sparsefeat.store.limits import check_limit, csr_bytes, require_memory
from sparsefeat.store.part import Part
from sparsefeat.store.selection import Rows, row_numbers
from sparsefeat.store.tables import REJECTED, ROWS
from sparsefeat.store.where import matching

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
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
    memory_limit
        Bytes that one matrix read may take; None for three quarters of the memory that is
        available to this process when it is read.

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

    def __init__(self, folder: str | Path, *, memory_limit: int | None = None) -> None:
        self.folder = checked_path(folder, "a store")
        self.memory_limit = check_limit(memory_limit)
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
        self._nnz: dict[str, Numbers] = {}

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = [(part.path.name, part.header.rows) for part in self._parts]
        return reopen, (self.folder, self.memory_limit, parts)

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

    def where(self, condition: str) -> Numbers:
        """Find the rows that a condition on `obs` holds for.

        Parameters
        ----------
        condition
            As `pandas.DataFrame.query` takes it, of columns, ``index``, constants, comparisons,
            arithmetic, ``and``, ``or``, ``not``, ``in``, and methods of text such as
            ``path.str.startswith("2024/")``. Nothing else is evaluated.

        Returns
        -------
        int64 (n,), ascending, to read with: ``store["block5_pool", store.where("width > 500")]``.

        Raises
        ------
        InputError
            It is no such condition, or there is no such column.
        """
        return matching(self._frame(ROWS), condition)

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
        StoreMemoryError
            It would take more than the memory limit: see `batches`.
        StoreCorruptError
            What is on disk is not what was written.
        StoreChangedError
            The store was compacted since it was opened.
        """
        with importing("scipy"):
            from scipy.sparse import csr_array
        layer, rows = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        if not isinstance(layer, str):
            raise InputError(
                f"got store[{key!r}], expected a layer's name, or a name and rows: "
                f"store[{next(iter(self.layers))!r}, 0:10]"
            )
        n_columns = self.layer(layer).n_features
        numbers = row_numbers(rows, self.n_rows)
        nnz = self.nnz(layer)[numbers]
        needed = csr_bytes(len(numbers), int(nnz.sum()), n_columns)
        require_memory(
            needed, self.memory_limit, layer=layer, n_rows=len(numbers), form="a CSR matrix"
        )
        arrays = read_csr(self._parts, layer, numbers, nnz)
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
        LayerError, InputError, StoreMemoryError, StoreCorruptError
            As reading a matrix does.
        """
        shape = self.layer(layer).shape
        numbers = row_numbers(slice(None) if rows is None else rows, self.n_rows)
        needed = 4 * len(numbers) * self.layer(layer).n_features
        require_memory(
            needed, self.memory_limit, layer=layer, n_rows=len(numbers), form="a dense array"
        )
        return read_dense(self._parts, layer, numbers).reshape(len(numbers), *shape)

    def batches(
        self,
        layer: str,
        rows: Rows | None = None,
        *,
        memory: int | None = None,
        batch_size: int | None = None,
    ) -> "Iterator[tuple[Numbers, csr_array[np.float32]]]":
        """Go through a layer, or some of its rows, in the order of the store.

        Parameters
        ----------
        layer, rows
            As ``store[layer, rows]`` takes them; numbers may come in any order.
        memory
            Bytes that a batch may take: its float32 values, indices and indptr, and those read
            ahead of it. Without `batch_size` 256 MiB.
        batch_size
            Rows in a batch, at most; `memory` and the memory limit hold all the same.

        Yields
        ------
        rows
            int64 (n,), ascending row numbers.
        matrix
            What ``store[layer, rows]`` gives.

        Raises
        ------
        LayerError, InputError, StoreMemoryError, StoreCorruptError
            As reading a matrix does. InputError too if a single row takes more than `memory`.

        Notes
        -----
        Of what was handed out nothing is kept. But a loop's variable holds its batch until the
        next one has been read: count on two of them, or ``del`` it.
        """
        return csr_batches(self, self.layer(layer).name, rows, memory, batch_size)

    def dense_batches(
        self,
        layer: str,
        rows: Rows | None = None,
        *,
        memory: int | None = None,
        batch_size: int | None = None,
    ) -> Iterator[tuple[Numbers, npt.NDArray[np.float32]]]:
        """Go through a layer as `batches` does, with what `dense` gives: float32 (n, H, W, C)."""
        return dense_batches(self, self.layer(layer).name, rows, memory, batch_size)

    def anndata(
        self,
        layers: str | Sequence[str] | None = None,
        *,
        lazy: bool = True,
        memory: int | None = None,
    ) -> "AnnData":
        """Give the store as one AnnData, all parts as one.

        Parameters
        ----------
        layers
            Names, groups and patterns, as text separated by commas or as a list; None for all.
        lazy
            Whether layers are dask arrays, read and checked when computed, or are read now.
        memory
            Bytes that a chunk of a dask array may take; None for 64 MiB.

        Returns
        -------
        AnnData (N, 0): `obs` as here; ``obsm[key]`` of shape (N, features), ``csr_matrix``, or
        dense where every part stores the layer so; ``uns["sparsefeat"]`` settings, provenance
        and shapes as JSON, and zeros per channel. In a key "/" is written ".".

        Raises
        ------
        LayerError
            There is no such layer.
        InputError
            A row takes more than `memory`.
        StoreMemoryError
            Read now, a layer would take more than the memory limit.
        DependencyError
            dask isn't installed, or doesn't load.
        """
        return annotated(self, layers, lazy=lazy, memory=memory)

    def nnz(self, layer: str) -> Numbers:
        """Count the non-zeros of each row, int64 (N,), without reading the data.

        Raises
        ------
        LayerError
            There is no such layer.
        StoreCorruptError
            What is on disk is not what was written.
        """
        if layer not in self._nnz:
            name = self.layer(layer).name
            counts = np.concatenate([np.diff(part.indptr(name)) for part in self._parts])
            counts.flags.writeable = False
            self._nnz[layer] = counts
        return self._nnz[layer]

    def zeros(self, layer: str) -> Zeros:
        """Count zeros per row and per channel, without reading the data.

        Raises
        ------
        LayerError
            There is no such layer.
        StoreCorruptError
            What is on disk is not what was written.
        """
        per_row = self.layer(layer).n_features - self.nnz(layer)
        per_channel = [part.zeros_per_channel(layer) for part in self._parts]
        return Zeros(per_row=per_row, per_channel=np.sum(per_channel, axis=0))

    def layer(self, name: str) -> Layer:
        """Give a layer by its name.

        Raises
        ------
        LayerError
            There is no such layer.
        """
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


def open_store(folder: str | Path, *, memory_limit: int | None = None) -> Store:
    """Open a store for reading: see `Store`.

    Examples
    --------
    >>> open_store("features/")["block5_pool"]  # doctest: +SKIP
    <Compressed Sparse Row sparse array of dtype 'float32' ...>
    """
    return Store(folder, memory_limit=memory_limit)


def reopen(folder: str | Path, memory_limit: int | None, parts: Sequence[tuple[str, int]]) -> Store:
    """Open a store in another process, with the parts that it had in the first.

    Parameters
    ----------
    folder, memory_limit
        As for `Store`.
    parts
        The names of its parts, and how many rows each has.

    Raises
    ------
    StoreChangedError
        It hasn't these parts any more: row numbers would mean other rows.
    """
    store = Store(folder, memory_limit=memory_limit)
    store._parts = store._parts[: len(parts)]  # what was appended since doesn't count
    store._starts = store._starts[: len(parts) + 1]
    if [(part.path.name, part.header.rows) for part in store._parts] != [*parts]:
        raise StoreChangedError(
            f"the parts of {folder} are others than when it was opened first, expected the same: "
            "open it again, in every process"
        )
    return store
