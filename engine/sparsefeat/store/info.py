"""What a store holds, in figures."""

from pathlib import Path

from sparsefeat.store.json_fields import JSON
from sparsefeat.store.layout import layer_key
from sparsefeat.store.reader import Store
from sparsefeat.store.values import Loss


def info(folder: str | Path) -> dict[str, JSON]:
    """Sum up a store without reading its data.

    Returns
    -------
    A JSON mapping: rows, rejected, parts, bytes, settings, values asked for, and for each layer
    its shape, its encoding ("csr", "dense" or "mixed"), in what form its values are ("float32",
    "bits:N", "float16", "uint8 steps", "uint8 roots", ..., or "mixed") and what that loses (None
    where nothing is lost), nnz, share of zeros, bytes dense and stored, and stored / dense.

    Raises
    ------
    StoreNotFoundError, StoreMismatchError, StoreCorruptError, StoreError
        As `Store` does.
    StoreChangedError
        The store was compacted meanwhile.
    """
    store = Store(folder)
    return {
        "rows": store.n_rows,
        "rejected": len(store.rejected),
        "parts": len(store.parts),
        "bytes": sum(part.n_bytes() for part in store.parts),
        "settings": store.settings,
        "values": store.parts[0].header.values,
        "layers": {name: _layer_info(store, name) for name in store.layers},
    }


def _layer_info(store: Store, name: str) -> dict[str, JSON]:
    layer = store.layers[name]
    stored = [part.layers[name] for part in store.parts]
    encodings = {entry.encoding for entry in stored}
    forms = {str(entry.values or "float32") for entry in stored}
    losses = [entry.values.loss for entry in stored if entry.values and entry.values.loss]
    nnz = sum(entry.nnz for entry in stored)
    n_elements = store.n_rows * layer.n_features
    n_bytes = sum(part.n_bytes(f"obsm/{layer_key(name)}") for part in store.parts)
    return {
        "shape": list(layer.shape),
        "encoding": encodings.pop() if len(encodings) == 1 else "mixed",
        "values": forms.pop() if len(forms) == 1 else "mixed",
        "loss": {**sum(losses, Loss()).to_json()} if losses else None,
        "nnz": nnz,
        "zeros": (n_elements - nnz) / n_elements if n_elements else None,
        "bytes_dense": 4 * n_elements,
        "bytes_stored": n_bytes,
        "ratio": n_bytes / (4 * n_elements) if n_elements else None,
    }
