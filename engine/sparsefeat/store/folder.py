"""A store's folder, seen by who wants to write into it."""

import errno
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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


class Hold:
    """The right to write into a store's folder, which nobody else has until it is released.

    Parameters
    ----------
    folder
        The store's.
    make
        Make it if there is none.

    Raises
    ------
    StoreLockedError
        Another writer is at work.
    StoreError
        With `make`: the folder holds something else.
    OSError
        The folder or the lock's file can't be made.
    """

    def __init__(self, folder: Path, *, make: bool) -> None:
        self._folder = folder
        self._made = _claim(folder) if make else []
        self._lock = _take_lock(folder)
        self._identity = self._identify()

    def check(self) -> None:
        """See that the folder is the one that was locked, before a part is begun in it.

        Raises
        ------
        StoreWriteError
            It was moved or deleted; or another one is in its place, such as the empty one beneath
            a drive that was unmounted.
        """
        try:
            if self._identify() == self._identity:
                return
        except OSError as exc:
            raise write_error(self._folder, exc) from exc
        raise write_error(self._folder, FileNotFoundError(errno.ENOENT, "it was replaced"))

    def release(self) -> None:
        """Let others write; remove what was made where it has become no store."""
        try:
            # Removed while it is locked: who has opened it already sees that it has no name now.
            with suppress(OSError):
                if all(entry.name == LOCK for entry in self._folder.iterdir()):
                    self.check()
                    (self._folder / LOCK).unlink()
                    for each in self._made:
                        each.rmdir()
        finally:
            self._lock.release()

    def _identify(self) -> tuple[int, int]:
        status = (self._folder / LOCK).stat()
        return status.st_dev, status.st_ino


def _take_lock(folder: Path) -> FileLock:
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
def locked(folder: Path, *, make: bool = False) -> Iterator[tuple[Hold, list[Part]]]:
    """Hold the folder's lock, and give the parts that count, in the order of their rows.

    What killed writers left is removed. With `make` the folder is made if there is none.

    Raises
    ------
    StoreLockedError
        Another writer is at work.
    StoreError
        With `make`: the folder holds something else.
    StoreWriteError
        The disk refused, here or inside.
    """
    try:
        hold = Hold(folder, make=make)
        try:
            yield hold, settle(folder)
        finally:
            hold.release()
    except StoreError:
        raise
    except OSError as exc:
        raise write_error(folder, exc) from exc


def write_error(folder: Path, exc: OSError) -> StoreWriteError:
    """Say that the disk refused, or dropped out."""
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return StoreWriteError(
            f"{folder} can't be written ({exc.strerror or exc}), expected the store that was "
            "there: bring it back and run the same command again, committed parts are safe"
        )
    return StoreWriteError(
        f"{folder} can't be written ({exc.strerror or exc}), expected room and permission: "
        "make some and run the same command again, committed parts are safe"
    )


def _claim(folder: Path) -> list[Path]:
    """Make the folder if there is none, and refuse one that holds something else.

    Returns
    -------
    The folders that were made, the innermost first.

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
    return made


def settle(folder: Path) -> list[Part]:
    """Remove what killed writers left, and give the parts that count; needs the lock.

    Raises
    ------
    StoreCorruptError, StoreError
        A part is damaged or of a newer format, or one that counts no more has rows of its own.
    OSError
        Something can't be removed.
    """
    leftovers = list_temporaries(folder)
    if leftovers:
        sync(folder)  # they may be parts whose successor, or whose new name, is not on the disk yet
    for leftover in leftovers:
        _remove(leftover)
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
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a part, or only the link where it is one: what it leads to may be anybody's."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)
