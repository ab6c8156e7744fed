"""Deleting what no snapshot lists any more: nothing else ever deletes."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sparsefeat.errors import InputError, StoreError
from sparsefeat.storage import LocalStorage, Usage
from sparsefeat.store.dataset.log import Log, Snapshot, storage_of, write_error
from sparsefeat.store.format.documents import PARTS, SNAPSHOTS, part_key, part_name, snapshot_key

DAY: Final = 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Vacuum:
    """What was deleted, or would be.

    Parameters
    ----------
    parts
        Parts that no snapshot lists any more, those that killed writers left among them.
    snapshots
        Older snapshots.
    leftovers
        Temporary files.
    stored_bytes, allocated_bytes
        What the parts took: their bytes, and what the disk gave them.
    waiting
        Parts that nobody lists, but that changed or were listed too recently.
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

    A snapshot that was the newest one within the grace period is kept, with its parts: who opened
    it reads on. So is a part that changed within it: a writer may be at work on it. Killed at any
    moment, it leaves a store that can be read, and the rest to the next call.

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
        The grace period is no number of seconds.

    Examples
    --------
    >>> vacuum("features/", dry_run=True).parts  # doctest: +SKIP
    3
    """
    if not 0 <= older_than < float("inf"):
        raise InputError(f"got older_than={older_than!r}, expected seconds from 0 on")
    storage = storage_of(folder)
    log = Log(storage)
    numbers = log.numbers()
    kept = _kept(storage, log, numbers, older_than)
    listed = {entry.name for snapshot in kept for entry in snapshot.parts}
    needed = {each.number for snapshot in kept for each in snapshot.chain}
    old = [number for number in numbers if number not in needed and number < kept[-1].number]
    unlisted = [
        name
        for folder_name in storage.names(PARTS)
        if (name := part_name(folder_name)) is not None and name not in listed
    ]
    usage, deleted, waiting = Usage(), 0, 0
    try:
        # First the snapshots, so that none lists a part that is gone.
        if not dry_run:
            for number in old:
                storage.delete(snapshot_key(number))
        for done, name in enumerate(unlisted, start=1):
            if _age(storage, part_key(name)) < older_than:
                waiting += 1
            else:
                deleted += 1
                usage += storage.usage(part_key(name))
                if not dry_run:
                    storage.delete(part_key(name))
            if progress is not None:
                progress(done, len(unlisted))
        leftovers = _delete_leftovers(storage, older_than, dry_run=dry_run)
    except StoreError:
        raise
    except OSError as exc:
        raise write_error(storage, exc) from exc
    return Vacuum(
        parts=deleted,
        snapshots=len(old),
        leftovers=leftovers,
        stored_bytes=usage.stored_bytes,
        allocated_bytes=usage.allocated_bytes,
        waiting=waiting,
    )


def _kept(storage: LocalStorage, log: Log, numbers: list[int], older_than: float) -> list[Snapshot]:
    """Read the newest snapshot, and those that were it within the grace period, oldest first."""
    kept = [log.require()]
    earlier = [number for number in numbers if number < kept[0].number]
    successor = kept[0].number
    for number in reversed(earlier):
        if _age(storage, snapshot_key(successor)) >= older_than:
            break
        kept.append(log.read(number))
        successor = number
    return kept[::-1]


def _age(storage: LocalStorage, key: str) -> float:
    """Give how long nothing has changed; 0 for what somebody else has just deleted."""
    try:
        return storage.age(key)
    except FileNotFoundError:
        return 0.0


def _delete_leftovers(storage: LocalStorage, older_than: float, *, dry_run: bool) -> int:
    """Delete the temporary files and folders of killed writers and vacuums."""
    found = 0
    for prefix in (PARTS, SNAPSHOTS):
        for name in storage.names(prefix):
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            key = f"{prefix}/{name}"
            if _age(storage, key) >= older_than:
                found += 1
                if not dry_run:
                    with suppress(FileNotFoundError):
                        storage.delete(key)
    return found
