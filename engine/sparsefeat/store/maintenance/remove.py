"""Removing rows from a store, and deleting what no snapshot lists any more."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from sparsefeat.errors import InputError
from sparsefeat.storage import Storage, open_storage
from sparsefeat.store.dataset import (
    Change,
    Log,
    Snapshot,
    Store,
    by_part,
    exclude_rows,
    row_ids,
    writing,
)
from sparsefeat.store.format import PARTS, SNAPSHOTS, part_key, part_name, snapshot_key
from sparsefeat.store.part import Part

Age: TypeAlias = Callable[[str], float | None]

DAY: Final = 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What was removed, or would be: rows, and how many are left."""

    rows: int
    rows_left: int


def remove(folder: str | os.PathLike[str], where: str, *, dry_run: bool = False) -> Removal:
    """Remove the rows that a condition holds for.

    The next snapshot excludes them; their bytes stay until `compact` has rewritten their parts, and
    `vacuum` has deleted the old ones. A later extraction treats an image whose row was removed as
    new.

    Parameters
    ----------
    folder
        The store.
    where
        The condition, as `Store.where` takes it.
    dry_run
        Only count the rows that it holds for.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    InputError
        The condition is invalid.
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

    `rows` has row numbers and ids, by the name of the part in which the store has them.
    """
    found = {name: [*numbers] for name, numbers in rows.items() if name in latest.by_name}
    ids = {id for name in rows.keys() - found.keys() for id in rows[name].values()}
    if ids:
        for entry in latest.parts:
            if entry.name not in store.snapshot.by_name:
                there = row_ids(Part(store.storage, entry))
                found[entry.name] = [number for number, id in there if id in ids]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacuum:
    """What was deleted, or would be.

    Parameters
    ----------
    parts
        Parts that no snapshot lists any more, including those that killed writers left.
    snapshots
        Older snapshots.
    leftovers
        Temporary files.
    stored_bytes, allocated_bytes
        Bytes of the parts, and bytes that the disk had allocated to them.
    waiting
        Parts that are kept, though the newest snapshot doesn't list them: they changed, or were
        replaced, too recently.
    """

    parts: int
    snapshots: int
    leftovers: int
    stored_bytes: int
    allocated_bytes: int
    waiting: int


def vacuum(
    folder: str | os.PathLike[str],
    *,
    older_than: float = DAY,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Vacuum:
    """Delete parts and snapshots that are no longer part of a store.

    A snapshot that was the newest one within the grace period is kept, with its parts, so that
    processes that opened it can read on. So is a part that changed within the grace period, since a
    writer may be working on it. If this is killed, the store can still be read, and the next call
    continues.

    Parameters
    ----------
    folder
        The store.
    older_than
        The grace period in seconds; 0 only if nobody else reads or writes the store.
    dry_run
        Only tell what would be deleted.
    progress
        Called with the number of parts looked at and their total.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    StoreCorruptError
        A snapshot is damaged: nothing is deleted.
    StoreReadError, StoreWriteError
        The system refused.
    InputError
        The grace period is not a number of seconds.

    Examples
    --------
    >>> vacuum("features/", dry_run=True).parts  # doctest: +SKIP
    3
    """
    if not 0 <= older_than < float("inf"):
        raise InputError(f"got older_than={older_than!r}, expected seconds from 0 on")
    storage = open_storage(folder)
    with writing(storage):
        return _vacuum(storage, older_than, dry_run=dry_run, progress=progress)


def _vacuum(
    storage: Storage,
    older_than: float,
    *,
    dry_run: bool,
    progress: Callable[[int, int], None] | None,
) -> Vacuum:
    log = Log(storage)
    numbers = log.numbers()
    newest = log.require()
    age = partial(_age, storage, exact=not dry_run)
    needed, listed = _kept(age, log, newest, numbers, older_than)
    old = [number for number in numbers if number not in needed and number < newest.number]
    there = [name for each in _names(storage, PARTS) if (name := part_name(each)) is not None]
    unlisted = [name for name in there if name not in listed]
    waiting = sum(name not in newest.by_name for name in there) - len(unlisted)
    stored_bytes = allocated_bytes = deleted = 0
    # First the temporary files: a writer that has slept since it listed the snapshots must not take
    # a number that is free again. Then the snapshots, so that none lists a deleted part; and from
    # the newest on, so that none refers to a deleted one.
    leftovers = _delete_leftovers(storage, age, older_than, dry_run=dry_run)
    for number in reversed(old):
        if not dry_run:
            _delete(storage, snapshot_key(number))
    for done, name in enumerate(unlisted, start=1):
        part_age = age(part_key(name))
        if part_age is not None and part_age < older_than:
            waiting += 1
        elif part_age is not None and name not in _latest(log, newest).by_name:
            deleted += 1
            stored, allocated = storage.usage(part_key(name))
            stored_bytes += stored
            allocated_bytes += allocated
            if not dry_run:
                _delete(storage, part_key(name))
        if progress is not None:
            progress(done, len(unlisted))
    return Vacuum(
        parts=deleted,
        snapshots=len(old),
        leftovers=leftovers,
        stored_bytes=stored_bytes,
        allocated_bytes=allocated_bytes,
        waiting=waiting,
    )


def _kept(
    age: Age, log: Log, newest: Snapshot, numbers: list[int], older_than: float
) -> tuple[set[int], set[str]]:
    """Find the snapshots that stay, and the parts that they list.

    These are the newest one, those that were the newest within the grace period, and those that any
    of them refers to. A snapshot has all parts of the one that it refers to, so each file is read
    once.
    """
    needed = {each.number for each in newest.chain}
    listed = {*newest.by_name}
    successor = newest.number
    for number in reversed([each for each in numbers if each < newest.number]):
        if (age(snapshot_key(successor)) or 0.0) >= older_than:
            break
        waiting = [number]
        while waiting:
            each = waiting.pop()
            if each not in needed and (found := log.document(each)) is not None:
                needed.add(each)
                listed.update(entry.name for entry in found[0].parts)
                waiting += [] if found[0].base is None else [found[0].base[0]]
        successor = number
    return needed, listed


def _latest(log: Log, known: Snapshot) -> Snapshot:
    """Read the newest snapshot again: a slow writer may have committed a part meanwhile."""
    return known if log.numbers()[-1:] == [known.number] else log.require()


def _age(storage: Storage, key: str, *, exact: bool) -> float | None:
    """Give the seconds since anything changed.

    None if somebody else has just deleted it, and for names of empty folders, which some object
    stores keep.
    """
    try:
        return storage.age(key, exact=exact)
    except FileNotFoundError:
        return None


def _delete_leftovers(storage: Storage, age: Age, older_than: float, *, dry_run: bool) -> int:
    """Delete the temporary files and folders of killed writers and vacuums."""
    found = 0
    for prefix in ("", PARTS, SNAPSHOTS):
        for name in _names(storage, prefix):
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            key = f"{prefix}/{name}" if prefix else name
            if (age(key) or 0.0) >= older_than:
                found += 1
                if not dry_run:
                    _delete(storage, key)
    return found


def _delete(storage: Storage, key: str) -> None:
    with suppress(FileNotFoundError):  # somebody else was faster
        storage.delete(key)


def _names(storage: Storage, prefix: str) -> list[str]:
    try:
        return storage.names(prefix)
    except FileNotFoundError:  # a store of no rows may have lost its folder of parts
        return []
