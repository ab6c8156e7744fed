"""A store, opened for reading."""

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, LayerError
from sparsefeat.store.dataset.annotated import annotated
from sparsefeat.store.dataset.batches import (
    Numbers,
    batches,
    check_limit,
    csr_bytes,
    csr_rows,
    require_memory,
)
from sparsefeat.store.dataset.gather import Parts, by_part, read_csr, read_dense
from sparsefeat.store.dataset.log import Log, Snapshot, storage_of
from sparsefeat.store.dataset.rows import Rows, row_numbers, runs
from sparsefeat.store.dataset.tables import read_frame, standing_rejects
from sparsefeat.store.dataset.where import matching
from sparsefeat.store.format.documents import JSON, SHARD, plain
from sparsefeat.store.part.read import Part
from sparsefeat.store.part.tables import REJECTED, ROWS
from sparsefeat.system.dependencies import importing
from sparsefeat.types import Layer
from sparsefeat_kernels import Csr, csr_zeros_per_channel

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
    """One snapshot of a store, as one matrix per layer.

    What others append to it, compact or remove meanwhile, is not seen: open it again for what is
    there now. `vacuum` deletes parts that only older snapshots list; reading one of them raises
    `StoreChangedError`.

    Parameters
    ----------
    folder
        The store's folder.
    memory_limit
        Bytes that one matrix read may take; None for three quarters of the memory that is
        available to this process when it is read.
    snapshot
        The number of a snapshot, as `history` lists them; None for the newest.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    StoreCorruptError
        The snapshot is damaged.
    StoreReadError
        The system refused to read it.
    StoreError
        It is of a newer format.
    InputError
        There is no such snapshot, or no path was given.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        memory_limit: int | None = None,
        snapshot: int | None = None,
    ) -> None:
        self.storage = storage_of(folder)
        self.folder = self.storage.root
        self.memory_limit = check_limit(memory_limit)
        self.snapshot: Snapshot = Log(self.storage).require(snapshot)
        self.layers: dict[str, Layer] = {layer.name: layer for layer in self.snapshot.layers}
        self.settings: dict[str, JSON] = self.snapshot.settings
        self._parts = Parts(self.storage, self.snapshot.parts)
        self._frames: dict[str, pd.DataFrame] = {}
        self._nnz: dict[str, Numbers] = {}

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r}, snapshot={self.snapshot.number})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.memory_limit, self.snapshot.number)

    def __len__(self) -> int:
        return self.n_rows

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self._parts.starts[-1])

    @property
    def parts(self) -> Sequence[Part]:
        """The parts, in the order of their rows, all of them opened."""
        return tuple(self._parts)

    @property
    def opened(self) -> Parts:
        """The parts, each opened when it is first needed."""
        return self._parts

    @property
    def provenance(self) -> list[dict[str, JSON]]:
        """What the parts record about how their rows were made, in the order of the rows."""
        return [origin.provenance for part in self._parts for origin in part.header.all_origins()]

    @property
    def obs(self) -> "pd.DataFrame":
        """One line per row, in the order of the rows, indexed by row id."""
        if ROWS not in self._frames:
            kept = [part.kept for part in self._parts]
            self._frames[ROWS] = read_frame(self._parts, ROWS, kept)
        return self._frames[ROWS].copy()

    @property
    def rejected(self) -> "pd.DataFrame":
        """One line per image that gave no row, with its latest reason."""
        if REJECTED not in self._frames:
            standing = self._standing_rejects()
            self._frames[REJECTED] = read_frame(self._parts, REJECTED, standing)
        return self._frames[REJECTED].copy()

    @property
    def n_rejected(self) -> int:
        """Images that gave no row."""
        return sum(map(len, self._standing_rejects()))

    def _standing_rejects(self) -> list[Numbers]:
        if not any(entry.rejected for entry in self.snapshot.parts):
            return [np.empty(0, np.int64)] * len(self._parts)
        return standing_rejects(self.parts)

    def where(self, condition: str) -> Numbers:
        """Find the rows that a condition on `obs` holds for.

        Parameters
        ----------
        condition
            As `pandas.DataFrame.query` takes it, on the columns of `obs` and its ``index``:
            ``width > 500 and path.str.startswith("2024/")``. ``@name`` reaches no variables. It
            can call any method of a column: take it from nobody who may not run Python.

        Returns
        -------
        int64 (n,), ascending, to read with: ``store["block5_pool", store.where("width > 500")]``.

        Raises
        ------
        InputError
            It is no such condition, or there is no such column.
        """
        return matching(self.obs, condition)

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
        wanted = self.layer(layer)
        n_columns = wanted.n_features
        numbers = row_numbers(rows, self.n_rows)
        nnz = self._nnz_of(wanted, numbers)
        needed = csr_bytes(len(numbers), int(nnz.sum()), n_columns)
        require_memory(
            needed, self.memory_limit, layer=layer, n_rows=len(numbers), form="a CSR matrix"
        )
        arrays = read_csr(self._parts, wanted, numbers, nnz)
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
        wanted = self.layer(layer)
        numbers = row_numbers(slice(None) if rows is None else rows, self.n_rows)
        needed = 4 * len(numbers) * wanted.n_features
        require_memory(
            needed, self.memory_limit, layer=layer, n_rows=len(numbers), form="a dense array"
        )
        return read_dense(self._parts, wanted, numbers).reshape(len(numbers), *wanted.shape)

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
        numbers = self._ascending(rows)
        return batches(
            numbers,
            self.csr_row_bytes(layer)[numbers],
            lambda some: self[layer, some],
            csr_rows,
            layer=layer,
            overhead=csr_bytes(0, 0, self.layer(layer).n_features),
            limit=self.memory_limit,
            memory=memory,
            batch_size=batch_size,
        )

    def dense_batches(
        self,
        layer: str,
        rows: Rows | None = None,
        *,
        memory: int | None = None,
        batch_size: int | None = None,
    ) -> Iterator[tuple[Numbers, npt.NDArray[np.float32]]]:
        """Go through a layer as `batches` does, with what `dense` gives: float32 (n, H, W, C)."""
        numbers = self._ascending(rows)
        return batches(
            numbers,
            np.full(len(numbers), 4 * self.layer(layer).n_features, np.int64),
            lambda some: self.dense(layer, some),
            lambda block, start, stop: block[start:stop].copy(),
            layer=layer,
            overhead=0,
            limit=self.memory_limit,
            memory=memory,
            batch_size=batch_size,
        )

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
            counts = self._nnz_of(self.layer(layer), np.arange(self.n_rows))
            counts.flags.writeable = False
            self._nnz[layer] = counts
        return self._nnz[layer]

    def _nnz_of(self, layer: Layer, numbers: Numbers) -> Numbers:
        """Count the non-zeros of some rows; only their parts are looked at."""
        if layer.name in self._nnz:
            return self._nnz[layer.name][numbers]
        counts = np.empty(len(numbers), np.int64)
        for wanted in by_part(self._parts, numbers):
            counts[wanted.places] = np.diff(wanted.part.indptr(layer.name))[wanted.rows]
        return counts

    def csr_row_bytes(self, layer: str) -> Numbers:
        """Give the bytes of each row of a layer in a CSR matrix, int64 (N,)."""
        # Batches whose own index would not fit int32 would be larger than any memory.
        return self.nnz(layer) * 8 + 4

    def is_dense(self, layer: str) -> bool:
        """Tell whether every part stores a layer dense: as CSR it would take more memory."""
        place = [*self.layers].index(self.layer(layer).name)
        return all(entry.layers[place].encoding == "dense" for entry in self.snapshot.parts)

    def _ascending(self, rows: Rows | None) -> Numbers:
        """Give the numbers of the rows asked for, int64 (n,), in the order of the store."""
        return np.sort(row_numbers(slice(None) if rows is None else rows, self.n_rows))

    def supports(self, layer: str) -> Iterator[Csr]:
        """Read where a layer isn't zero, some rows at a time, in the order of the store.

        All values are 1. Of what is stored as CSR the indices are read, and no values.
        """
        name = self.layer(layer).name
        for part in self._parts:
            rows = np.arange(part.header.rows) if part.kept is None else part.kept
            for start, stop in runs(rows, part.offsets(name), most=SHARD):
                yield part.support(name, start, stop)

    def as_stored(self, layer: str, rows: Rows) -> "csr_array":
        """Read rows as ``store[layer, rows]`` does, but codes in place of their values."""
        matrix = self[layer, rows]
        for wanted in by_part(self._parts, row_numbers(rows, self.n_rows)):
            companding = wanted.part.layers[layer].companding
            if companding is None:
                continue
            scales = wanted.part.scales(layer)
            for row in wanted.places.tolist():
                place = slice(matrix.indptr[row], matrix.indptr[row + 1])
                ratios = matrix.data[place] / scales[matrix.indices[place] % len(scales)]
                codes = np.sqrt(ratios) if companding == "square" else ratios
                matrix.data[place] = np.rint(codes)
        return matrix

    def stored_values(self, layer: str) -> list[dict[str, JSON]]:
        """Say how a layer is stored where not as float32 to the last bit, each way once."""
        place = [*self.layers].index(self.layer(layer).name)
        if all(entry.layers[place].form == "float32" for entry in self.snapshot.parts):
            return []
        found: list[dict[str, JSON]] = []
        for part in self._parts:
            values = part.layers[layer].values
            if values is not None and (fact := plain(values)) not in found:
                found.append(fact)
        return found

    def zeros(self, layer: str) -> Zeros:
        """Count zeros per row and per channel, without reading the data.

        Raises
        ------
        LayerError
            There is no such layer.
        StoreCorruptError
            What is on disk is not what was written.
        """
        found = self.layer(layer)
        per_channel = np.zeros(found.n_channels, np.int64)
        for part in self._parts:
            per_channel += part.zeros_per_channel(layer)
            for start, stop in part.entry.excluded:
                per_channel -= csr_zeros_per_channel(
                    part.rows(layer, start, stop), found.n_channels
                )
        return Zeros(per_row=found.n_features - self.nnz(layer), per_channel=per_channel)

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


def open_store(
    folder: str | os.PathLike[str],
    *,
    memory_limit: int | None = None,
    snapshot: int | None = None,
) -> Store:
    """Open a store for reading: see `Store`.

    Examples
    --------
    >>> open_store("features/")["block5_pool"]  # doctest: +SKIP
    <Compressed Sparse Row sparse array of dtype 'float32' ...>
    """
    return Store(folder, memory_limit=memory_limit, snapshot=snapshot)


def _reopen(folder: Path, memory_limit: int | None, snapshot: int) -> Store:
    """Open a store in another process, at the snapshot that it had in the first."""
    return Store(folder, memory_limit=memory_limit, snapshot=snapshot)
