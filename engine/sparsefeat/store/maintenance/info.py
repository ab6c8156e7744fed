"""Figures about a store, and its history."""

import os
from dataclasses import dataclass
from functools import cache

from sparsefeat.storage import open_storage
from sparsefeat.store.dataset import Log, Store
from sparsefeat.store.format import JSON, Loss, SnapshotDocument
from sparsefeat.store.part import read_refusal


def info(folder: str | os.PathLike[str], *, snapshot: int | None = None) -> dict[str, JSON]:
    """Sum up a store without reading its data.

    Returns
    -------
    A JSON mapping: snapshot (its number), created, rows, excluded (rows that were removed or
    replaced and still take space), rejected, parts, bytes, allocated_bytes (what the disk allocates
    to all files, also of older snapshots; None in a bucket), settings, the requested values, and
    for each layer its shape, its encoding ("csr", "dense" or "mixed"), how its values are stored
    ("float32", "bits:N", "float16", "uint8 linear codes", ..., or "mixed"), their error (None if
    there is none), nnz, share of zeros, bytes dense and stored, and stored / dense. Figures of
    layers are of all rows of the parts, including excluded ones.

    Raises
    ------
    StoreNotFoundError, StoreCorruptError, StoreReadError, StoreError
        As `Store` does.
    """
    store = Store(folder, snapshot=snapshot)
    entries, losses = store.snapshot.parts, _losses(store)
    return {
        "snapshot": store.snapshot.number,
        "created": store.snapshot.created,
        "rows": store.n_rows,
        "excluded": sum(entry.n_excluded for entry in entries),
        "rejected": store.n_rejected,
        "parts": len(entries),
        "bytes": sum(entry.n_bytes for entry in entries),
        "allocated_bytes": _allocated_bytes(store),
        "settings": store.settings,
        "values": store.snapshot.values,
        "layers": {
            name: _layer_info(store, name, place, losses.get(name))
            for place, name in enumerate(store.layers)
        },
    }


def _allocated_bytes(store: Store) -> int | None:
    try:
        return store.storage.allocated_bytes()
    except OSError as exc:
        if refused := read_refusal(store.storage.name(""), exc):
            raise refused from exc
        raise


def _losses(store: Store) -> dict[str, Loss]:
    """Combine the parts' losses of each layer that has any."""
    losses: dict[str, Loss] = {}
    if any(layer.form != "float32" for entry in store.snapshot.parts for layer in entry.layers):
        for part in store.opened:
            for name, stored in part.layers.items():
                if (loss := getattr(stored.values, "loss", None)) is not None:
                    losses[name] = losses.get(name, Loss()) + loss
    return losses


def _layer_info(store: Store, name: str, place: int, loss: Loss | None) -> dict[str, JSON]:
    layer = store.layers[name]
    stored = [entry.layers[place] for entry in store.snapshot.parts]
    encodings = {entry.encoding for entry in stored}
    forms = {entry.form for entry in stored}
    nnz, n_bytes = sum(entry.nnz for entry in stored), sum(entry.n_bytes for entry in stored)
    n_elements = sum(entry.rows for entry in store.snapshot.parts) * layer.n_features
    return {
        "shape": list(layer.shape),
        "encoding": encodings.pop() if len(encodings) == 1 else "mixed",
        "values": forms.pop() if len(forms) == 1 else "mixed",
        "loss": None if loss is None else {**loss.to_json()},
        "nnz": nnz,
        "zeros": (n_elements - nnz) / n_elements if n_elements else None,
        "bytes_dense": 4 * n_elements,
        "bytes_stored": n_bytes,
        "ratio": n_bytes / (4 * n_elements) if n_elements else None,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One snapshot: its number, when and by what it was made, its rows and parts.

    `added` is the number of rows more than in the snapshot before it in the list; None for the
    oldest that `vacuum` has left. `parts` is None if a snapshot that this one refers to no longer
    exists.
    """

    snapshot: int
    created: str
    operation: str
    rows: int
    added: int | None
    parts: int | None


def history(folder: str | os.PathLike[str]) -> list[Commit]:
    """List the existing snapshots of a store, oldest first.

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
    log = Log(open_storage(folder))
    log.require()

    @cache  # few snapshots are referred to, each by many
    def names(number: int) -> frozenset[str] | None:
        found = log.document(number)
        return None if found is None else _names(found[0])

    def _names(document: SnapshotDocument) -> frozenset[str] | None:
        base = frozenset[str]() if document.base is None else names(document.base[0])
        return None if base is None else base.union(entry.name for entry in document.parts)

    commits: list[Commit] = []
    for number in log.numbers():
        found = log.document(number)
        if found is None:
            continue
        document, _ = found
        before = commits[-1].rows if commits else (0 if number == 1 else None)
        listed = _names(document)
        commits.append(
            Commit(
                snapshot=number,
                created=document.created,
                operation=document.operation,
                rows=document.rows,
                added=None if before is None else document.rows - before,
                parts=None if listed is None else len(listed),
            )
        )
    return commits
