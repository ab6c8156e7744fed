"""What a store holds, in figures."""

from pathlib import Path

from sparsefeat.store.json_fields import JSON
from sparsefeat.store.layout import folder_bytes, layer_key
from sparsefeat.store.reader import Store


def info(folder: str | Path) -> dict[str, JSON]:
    """Sum up a store without reading its data.

    Returns
    -------
    A JSON mapping: rows, rejected, parts, bytes, settings, and for each layer its shape, its
    encoding ("csr", "dense" or "mixed"), nnz, share of zeros, bytes dense and stored, and
    stored / dense.

    Raises
    ------
    StoreNotFoundError, StoreMismatchError, StoreCorruptError, StoreError
        As `Store` does.
    """
    store = Store(folder)
    return {
        "rows": store.n_rows,
        "rejected": len(store.rejected),
        "parts": len(store.parts),
        "bytes": sum(folder_bytes(part.path) for part in store.parts),
        "settings": store.settings,
        "layers": {name: _layer_info(store, name) for name in store.layers},
    }


def _layer_info(store: Store, name: str) -> dict[str, JSON]:
    layer = store.layers[name]
    stored = [part.layers[name] for part in store.parts]
    encodings = {entry.encoding for entry in stored}
    nnz = sum(entry.nnz for entry in stored)
    n_elements = store.n_rows * layer.n_features
    n_bytes = sum(folder_bytes(part.path / "obsm" / layer_key(name)) for part in store.parts)
    return {
        "shape": list(layer.shape),
        "encoding": encodings.pop() if len(encodings) == 1 else "mixed",
        "nnz": nnz,
        "zeros": (n_elements - nnz) / n_elements if n_elements else None,
        "bytes_dense": 4 * n_elements,
        "bytes_stored": n_bytes,
        "ratio": n_bytes / (4 * n_elements) if n_elements else None,
    }
