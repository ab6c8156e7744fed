"""What a store holds, in figures, and how it came to be."""

import os
from dataclasses import dataclass

from sparsefeat.store.dataset.log import Log, storage_of
from sparsefeat.store.dataset.store import Store
from sparsefeat.store.format.documents import JSON
from sparsefeat.store.values import Loss


def info(folder: str | os.PathLike[str], *, snapshot: int | None = None) -> dict[str, JSON]:
    """Sum up a store without reading its data.

    Returns
    -------
    A JSON mapping: snapshot (its number), created, rows, excluded (rows that were removed or
    replaced and still take room), rejected, parts, bytes, allocated_bytes (what the disk gives
    all files of the folder), settings, values asked for, and for each layer its shape, its
    encoding ("csr", "dense" or "mixed"), in what form its values are ("float32", "bits:N",
    "float16", "uint8 linear codes", ..., or "mixed") and what that loses (None where nothing is
    lost), nnz, share of zeros, bytes dense and stored, and stored / dense. Figures of layers are of
    all rows of the parts, excluded ones too.

    Raises
    ------
    StoreNotFoundError, StoreCorruptError, StoreReadError, StoreError
        As `Store` does.
    """
    store = Store(folder, snapshot=snapshot)
    entries = store.snapshot.parts
    return {
        "snapshot": store.snapshot.number,
        "created": store.snapshot.created,
        "rows": store.n_rows,
        "excluded": sum(entry.n_excluded for entry in entries),
        "rejected": store.n_rejected,
        "parts": len(entries),
        "bytes": sum(entry.n_bytes for entry in entries),
        "allocated_bytes": store.storage.usage().allocated_bytes,
        "settings": store.settings,
        "values": store.snapshot.values,
        "layers": {
            name: _layer_info(store, name, place) for place, name in enumerate(store.layers)
        },
    }


def _layer_info(store: Store, name: str, place: int) -> dict[str, JSON]:
    layer = store.layers[name]
    stored = [entry.layers[place] for entry in store.snapshot.parts]
    encodings = {entry.encoding for entry in stored}
    forms = {entry.form for entry in stored}
    losses = (
        []
        if forms <= {"float32"}
        else [loss for part in store.parts if (loss := _loss(part.layers[name].values))]
    )
    nnz, n_bytes = sum(entry.nnz for entry in stored), sum(entry.n_bytes for entry in stored)
    n_elements = sum(entry.rows for entry in store.snapshot.parts) * layer.n_features
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


def _loss(values: object) -> Loss | None:
    return getattr(values, "loss", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One snapshot: its number, when and by what it was made, its rows, and how many more.

    `added` is None for the oldest snapshot that `vacuum` has left, where others came before.
    """

    snapshot: int
    created: str
    operation: str
    rows: int
    added: int | None


def history(folder: str | os.PathLike[str]) -> list[Commit]:
    """List the snapshots of a store that are there, oldest first.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    StoreCorruptError, StoreReadError
        A snapshot can't be read.

    Examples
    --------
    >>> [commit.rows for commit in history("features/")]  # doctest: +SKIP
    [1024, 2048, 2500]
    """
    log = Log(storage_of(folder))
    log.require()
    commits: list[Commit] = []
    for number in log.numbers():
        document = log.document(number)
        before = commits[-1].rows if commits else (0 if number == 1 else None)
        commits.append(
            Commit(
                snapshot=number,
                created=document.created,
                operation=document.operation,
                rows=document.rows,
                added=None if before is None else document.rows - before,
            )
        )
    return commits
