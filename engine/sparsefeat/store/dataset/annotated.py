"""A whole store as one AnnData, its layers read when they are computed."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sparsefeat.store.dataset.batches import check_memory, csr_bytes, fitting
from sparsefeat.store.dataset.choosing import choose_stored
from sparsefeat.store.dataset.tables import with_objects
from sparsefeat.store.format import layer_key
from sparsefeat.system import importing

MEMORY: Final = 64 << 20  # bytes of a chunk where nothing else was said; several are in work

if TYPE_CHECKING:
    import anndata
    from scipy.sparse import csr_matrix

    Store = Any  # sparsefeat.store.Store, which imports this module


def annotated(
    store: "Store",
    layers: str | Sequence[str] | None,
    *,
    x: str | None,
    lazy: bool,
    memory: int | None,
) -> "anndata.AnnData":
    """Give a store as AnnData: see `Store.anndata`."""
    with importing("anndata", "pip install anndata"):
        import anndata
        import pandas as pd
    names = choose_stored(layers, store.layers)
    read = _lazy if lazy else _in_memory
    matrix = var = None
    if x is not None:
        matrix = read(store, store[x].name, memory)
        var = pd.DataFrame(index=store.layers[x].feature_names)
    described = [name for name in store.layers if name in names or name == x]
    return anndata.AnnData(
        matrix,
        obs=with_objects(store.obs),
        var=var,
        obsm={layer_key(name): read(store, name, memory) for name in names if name != x},
        uns={
            "sparsefeat": {
                "layers": json.dumps({name: [*store.layers[name].shape] for name in described}),
                "settings": json.dumps(store.settings),
                "provenance": json.dumps(store.provenance),
                "zeros_per_channel": {
                    layer_key(name): store[name].zeros().per_channel for name in described
                },
            }
        },
    )


def _in_memory(store: "Store", layer: str, memory: int | None) -> Any:
    return _read(store, layer, 0, store.n_rows)


def _lazy(store: "Store", layer: str, memory: int | None) -> Any:
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
    store: "Store", layer: str, start: int, stop: int
) -> "csr_matrix[np.float32] | npt.NDArray[np.float32]":
    """Read rows as AnnData keeps them: csr_matrix, as it reads a part, or dense."""
    from scipy.sparse import csr_matrix

    rows = slice(start, stop)
    if store[layer].is_dense:
        dense: npt.NDArray[np.float32] = store[layer].to_numpy(rows)
        return dense.reshape(stop - start, store.layers[layer].n_features)
    matrix: csr_matrix[np.float32] = csr_matrix(store[layer][rows])
    return matrix
