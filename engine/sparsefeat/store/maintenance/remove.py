"""Removing rows from a store."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sparsefeat.store.dataset import Change, Log, Snapshot, Store, by_part, exclude_rows, row_ids
from sparsefeat.store.part import Part


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
    StoreChangedError
        A part was deleted by `vacuum` meanwhile.
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
    ids = store.obs.index[numbers]
    rows = {
        wanted.part.entry.name: dict(
            zip(wanted.rows.tolist(), ids[wanted.places].tolist(), strict=True)
        )
        for wanted in by_part(store.opened, numbers)
    }

    def removed(latest: Snapshot) -> Change | None:
        parts = exclude_rows(latest.parts, _found(store, latest, rows))
        return None if parts == [*latest.parts] else Change(operation="remove", parts=parts)

    after = Log(store.storage).commit(store.snapshot, removed)
    return Removal(rows=len(numbers), rows_left=after.n_rows)


def _found(
    store: Store, latest: Snapshot, rows: Mapping[str, Mapping[int, str]]
) -> dict[str, list[int]]:
    """Find rows in the parts of a later snapshot, of which some may have been compacted.

    `rows` are numbers and ids by the name of the part in which the store has them.
    """
    found = {name: [*numbers] for name, numbers in rows.items() if name in latest.by_name}
    ids = {id for name in rows.keys() - found.keys() for id in rows[name].values()}
    if ids:
        for entry in latest.parts:
            if entry.name not in store.snapshot.by_name:
                there = row_ids(Part(store.storage, entry))
                found[entry.name] = [number for number, id in there if id in ids]
    return found
