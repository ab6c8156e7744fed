"""A store, opened for reading."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, LayerError
from sparsefeat.storage import open_storage
from sparsefeat.store.dataset.log import Log
from sparsefeat.store.dataset.rows import (
    Numbers,
    Parts,
    check_limit,
    check_memory,
    csr_bytes,
    fitting,
)
from sparsefeat.store.dataset.snapshot import Snapshot
from sparsefeat.store.dataset.tables import matching, read_frame, standing_rejects, with_objects
from sparsefeat.store.dataset.view import LayerView, choose_stored_layers
from sparsefeat.store.format import JSON, layer_key
from sparsefeat.store.part import REJECTED, ROWS, Part
from sparsefeat.system import close_matches, importing
from sparsefeat.types import Layer

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

MEMORY: Final = 64 << 20  # bytes of a chunk by default; several are read at the same time


class Store:
    """One snapshot of a store: a table of rows, and a `LayerView` for each layer.

    It does not show what others append, compact or remove meanwhile: open the store again for that.
    `vacuum` deletes parts that only older snapshots list; reading one of them raises
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
        self.storage = open_storage(folder)
        self.folder = self.storage.location
        self.memory_limit = check_limit(memory_limit)
        self.snapshot: Snapshot = Log(self.storage).require(snapshot)
        self.layers: dict[str, Layer] = {layer.name: layer for layer in self.snapshot.layers}
        self.settings: dict[str, JSON] = self.snapshot.settings
        self.opened = Parts(self.storage, self.snapshot.parts, self.snapshot.layers)
        """The parts, each opened when it is first needed."""
        self._frames: dict[str, pd.DataFrame] = {}
        self._views: dict[str, LayerView] = {}

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r}, snapshot={self.snapshot.number})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.memory_limit, self.snapshot.number)

    def __len__(self) -> int:
        return self.n_rows

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.opened.starts[-1])

    @property
    def parts(self) -> Sequence[Part]:
        """The parts, in the order of their rows, all of them opened."""
        return tuple(self.opened.some(range(len(self.opened))))

    @property
    def provenance(self) -> list[dict[str, JSON]]:
        """What the parts record about how their rows were made, in the order of the rows."""
        return [origin.provenance for part in self.opened for origin in part.header.all_origins()]

    @property
    def obs(self) -> "pd.DataFrame":
        """One line per row, in the order of the rows, indexed by row id."""
        if ROWS not in self._frames:
            kept = ((part, part.kept) for part in self.opened)
            self._frames[ROWS] = read_frame(kept, ROWS, self.storage.reads_at_once)
        return self._frames[ROWS].copy()

    @property
    def rejected(self) -> "pd.DataFrame":
        """One line per image that gave no row, with its latest reason."""
        if REJECTED not in self._frames:
            standing = zip(self.opened, self._standing_rejects(), strict=True)
            self._frames[REJECTED] = read_frame(standing, REJECTED, self.storage.reads_at_once)
        return self._frames[REJECTED].copy()

    @property
    def n_rejected(self) -> int:
        """Images that gave no row."""
        return sum(map(len, self._standing_rejects()))

    def _standing_rejects(self) -> list[Numbers]:
        if not any(entry.rejected for entry in self.snapshot.parts):
            return [np.empty(0, np.int64)] * len(self.opened)
        return standing_rejects(self.opened, self.storage.reads_at_once)

    def where(self, condition: str) -> Numbers:
        """Find the rows that a condition on `obs` holds for.

        Parameters
        ----------
        condition
            As `pandas.DataFrame.query` takes it, on the columns of `obs` and its ``index``:
            ``width > 500 and path.str.startswith("2024/")``. ``@name`` does not refer to
            variables. It can call any method of a column: don't accept it from anybody who may not
            run Python.

        Returns
        -------
        int64 (n,), ascending, to read with: ``store["block5_pool"][store.where("width > 500")]``.

        Raises
        ------
        InputError
            The condition is invalid, or there is no such column.
        """
        return matching(self.obs, condition)

    def __getitem__(self, layer: str) -> LayerView:
        """Give a layer, without reading anything yet.

        Raises
        ------
        LayerError
            There is no such layer.

        Examples
        --------
        >>> open_store("features/")["block5_pool"][10:20]  # doctest: +SKIP
        <Compressed Sparse Row sparse array of dtype 'float32' ...>
        """
        if layer not in self.layers:
            if not isinstance(layer, str):
                raise InputError(
                    f"got store[{layer!r}], expected a layer's name; rows come after it: "
                    f"store[{next(iter(self.layers))!r}][0:10]"
                )
            likely = close_matches(layer, self.layers) or list(self.layers)
            raise LayerError(
                f"the store has no layer {layer!r}, expected one it holds: try {', '.join(likely)}"
            )
        if layer not in self._views:
            place = [*self.layers].index(layer)
            self._views[layer] = LayerView(
                self.layers[layer], self.opened, place, self.memory_limit, lambda: self.obs.index
            )
        return self._views[layer]

    def __contains__(self, layer: object) -> bool:
        return layer in self.layers

    def anndata(
        self,
        layers: str | Sequence[str] | None = None,
        *,
        x: str | None = None,
        lazy: bool = True,
        memory: int | None = None,
    ) -> "AnnData":
        """Give the whole store as one AnnData.

        Parameters
        ----------
        layers
            Names, groups and patterns, as text separated by commas or as a list; None for all.
        x
            The layer to use as `X`, with ``var_names`` such as ``fc2_0``, instead of in `obsm`.
        lazy
            Whether layers are dask arrays, read and checked when computed, or are read now.
        memory
            Bytes that a chunk of a dask array may take; None for 64 MiB.

        Returns
        -------
        AnnData (N, 0), or (N, features) with `x`: `obs` as here; ``obsm[key]`` of shape (N,
        features), ``csr_matrix``, or dense if every part stores the layer dense;
        ``uns["sparsefeat"]`` settings, provenance and shapes as JSON, and zeros per channel. In a
        key "/" is written ".".

        Raises
        ------
        LayerError
            There is no such layer.
        InputError
            A row takes more than `memory`.
        StoreMemoryError
            Without `lazy`, a layer would take more than the memory limit.
        DependencyError
            dask isn't installed, or doesn't load.
        """
        with importing("anndata", "pip install anndata"):
            import anndata
            import pandas as pd
        names = choose_stored_layers(layers, self.layers)

        def read(layer: str) -> Any:
            return _lazy(self, layer, memory) if lazy else _read(self, layer, 0, self.n_rows)

        matrix = var = None
        if x is not None:
            matrix = read(self[x].name)
            var = pd.DataFrame(index=self.layers[x].feature_names)
        described = [name for name in self.layers if name in names or name == x]
        return anndata.AnnData(
            matrix,
            obs=with_objects(self.obs),
            var=var,
            obsm={layer_key(name): read(name) for name in names if name != x},
            uns={
                "sparsefeat": {
                    "layers": json.dumps({name: [*self.layers[name].shape] for name in described}),
                    "settings": json.dumps(self.settings),
                    "provenance": json.dumps(self.provenance),
                    "zeros_per_channel": {
                        layer_key(name): self[name].zeros().per_channel for name in described
                    },
                }
            },
        )


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


def _lazy(store: Store, layer: str, memory: int | None) -> Any:
    """Make a dask array whose chunks are rows that together take no more than `memory`."""
    install, purpose = (
        "pip install 'sparsefeat[dask]'",
        "a lazy AnnData needs it (lazy=False does not)",
    )
    with importing("dask", install, purpose=purpose):
        import dask.array as da
        from dask.base import tokenize
    n_features = store.layers[layer].n_features
    if store[layer].is_dense:
        row_bytes, overhead = np.full(store.n_rows, 4 * n_features, np.int64), 0
    else:
        row_bytes, overhead = store[layer].csr_row_bytes, csr_bytes(0, 0, n_features)
    if memory is not None:
        check_memory(memory, layer, np.arange(store.n_rows), row_bytes + overhead)
    cuts = fitting(row_bytes, memory or MEMORY, overhead=overhead) or [(0, 0)]
    name = f"sparsefeat-{layer_key(layer)}-{tokenize(store.__reduce__()[1], layer, cuts)}"
    graph = {(name, i, 0): (_read, store, layer, *cut) for i, cut in enumerate(cuts)}
    return da.Array(
        graph,
        name,
        chunks=(tuple(stop - start for start, stop in cuts), (n_features,)),
        meta=_read(store, layer, 0, 0),
    )


def _read(
    store: Store, layer: str, start: int, stop: int
) -> "csr_matrix[np.float32] | npt.NDArray[np.float32]":
    """Read rows as AnnData keeps them: csr_matrix, as it reads a part, or dense."""
    from scipy.sparse import csr_matrix

    rows = slice(start, stop)
    if store[layer].is_dense:
        dense: npt.NDArray[np.float32] = store[layer].to_numpy(rows)
        return dense.reshape(stop - start, store.layers[layer].n_features)
    matrix: csr_matrix[np.float32] = csr_matrix(store[layer][rows])
    return matrix
