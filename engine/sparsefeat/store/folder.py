"""A store's folder, seen by who wants to write into it."""

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sparsefeat.errors import StoreCorruptError, StoreError, StoreLockedError, StoreWriteError
from sparsefeat.store.committed import survey
from sparsefeat.store.durable import sync
from sparsefeat.store.kept import lost_with
from sparsefeat.store.layout import (
    LOCK,
    list_parts,
    list_temporaries,
    part_number,
    temporary_name,
)
from sparsefeat.store.part import Part


def take_lock(folder: Path) -> FileLock:
    """Let nobody else write into the folder until the lock is released.

    Raises
    ------
    StoreLockedError
        Another writer is at work.
    OSError
        The lock's file can't be made.
    """
    lock = FileLock(
        folder / LOCK,
        timeout=0,
        thread_local=False,  # who opened it may close it in another thread
        fallback_to_soft=False,  # a file with a process number outlives a killed process
    )
    try:
        lock.acquire()
    except Timeout as exc:
        raise StoreLockedError(
            f"another process is writing to {folder}, expected one writer at a time: "
            "wait for it, or choose another folder"
        ) from exc
    return lock


@contextmanager
def locked(folder: Path) -> Iterator[list[Part]]:
    """Hold the folder's lock, and give the parts that count, in the order of their rows.

    What killed writers left is removed.

    Raises
    ------
    StoreLockedError
        Another writer is at work.
    StoreWriteError
        The disk refused, here or inside.
    """
    try:
        lock = take_lock(folder)
        try:
            yield settle(folder)
        finally:
            lock.release()
    except StoreError:
        raise
    except OSError as exc:
        raise write_error(folder, exc) from exc


def write_error(folder: Path, exc: OSError) -> StoreWriteError:
    """Say that the disk refused."""
    return StoreWriteError(
        f"{folder} can't be written ({exc.strerror or exc}), expected room and permission: "
        "make some and run the same command again, committed parts are safe"
    )


def claim(folder: Path) -> None:
    """Make the folder if there is none, and refuse one that holds something else.

    Raises
    ------
    StoreError
        The path is a file, or a folder with visible files and no part of a store.
    OSError
        The folder can't be made.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, expected a folder: choose another path")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        sync(each.parent)
    foreign = next((entry for entry in folder.iterdir() if not entry.name.startswith(".")), None)
    if foreign is not None and not list_parts(folder):
        raise StoreError(
            f"{folder} holds {foreign.name} and no part-*.zarr, expected a store or an empty "
            "folder: choose another one"
        )


def settle(folder: Path) -> list[Part]:
    """Remove what killed writers left, and give the parts that count; needs the lock.

    Raises
    ------
    StoreCorruptError, StoreError
        A part is damaged or of a newer format, or one that counts no more has rows of its own.
    OSError
        Something can't be removed.
    """
    for leftover in list_temporaries(folder):
        shutil.rmtree(leftover)
    found = survey(folder)
    parts = found.sound()
    for path in found.replaced:
        if lost_with(Part(path), parts):
            raise StoreCorruptError(
                f"{path} was replaced by another part, but has rows that no other has, expected "
                "none: one of them was copied here from another store, move it elsewhere"
            )
    remove_replaced(folder, found.replaced)
    return parts


def remove_replaced(folder: Path, replaced: Iterable[Path]) -> None:
    """Remove parts whose rows another committed part has taken over; needs the lock.

    Each goes out of sight in one step, so that no reader meets half of it.
    """
    hidden = []
    for path in replaced:
        number = part_number(path.name)
        assert number is not None
        hidden.append(path.rename(folder / temporary_name(number, secrets.token_hex(4))))
    if hidden:
        sync(folder)
    for path in hidden:
        shutil.rmtree(path)
