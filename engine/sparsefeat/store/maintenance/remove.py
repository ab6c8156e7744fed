"""Removing rows from a store."""

import os
from dataclasses import dataclass

from sparsefeat.store.dataset.gather import by_part
from sparsefeat.store.dataset.log import Change, Log, Snapshot
from sparsefeat.store.dataset.store import Store
from sparsefeat.store.dataset.writer import exclude_rows, located


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What was removed, or would be: rows, and how many are left."""

    rows: int
    rows_left: int


def remove(folder: str | os.PathLike[str], where: str, *, dry_run: bool = False) -> Removal:
    """Remove the rows that a condition holds for.

    They don't count from the next snapshot on; their bytes stay until `compact` has written the
    others into new parts, and `vacuum` has deleted the old ones. An image whose row was removed
    is new to a later extraction.

    Parameters
    ----------
    folder
        The store.
    where
        The condition, as `Store.where` takes it.
    dry_run
        Only tell how many rows it holds for.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    InputError
        It is no such condition.
    StoreCorruptError
        A part is damaged.
    StoreReadError, StoreWriteError
        The system refused.

    Examples
    --------
    >>> remove("features/", "label == 'trash'").rows  # doctest: +SKIP
    12
    """
    store = Store(folder)
    numbers = store.where(where)
    if dry_run or not len(numbers):
        return Removal(rows=len(numbers), rows_left=store.n_rows - len(numbers))
    rows = {
        wanted.part.entry.name: wanted.rows.tolist() for wanted in by_part(store.opened, numbers)
    }
    known = store.snapshot.by_name

    def removed(latest: Snapshot) -> Change | None:
        parts = exclude_rows(latest.parts, located(store.storage, latest, rows, known))
        return None if parts == [*latest.parts] else Change(operation="remove", parts=parts)

    after = Log(store.storage).commit(store.snapshot, removed)
    return Removal(rows=len(numbers), rows_left=after.n_rows)
