"""Files that appear when they are whole, whatever libraries make of errors on the way."""

import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sparsefeat.errors import InputError
from sparsefeat.storage import check_replaceable, create_folder, is_special, replacing, sync

Ours = Callable[[set[str]], bool]


class Sink(io.RawIOBase):
    """A new file for libraries that don't bear it when the disk is full.

    HDF5 can't close a file whose last blocks it can't write, and zip and Parquet files write
    their tables of contents when they are closed after an error. So the first error, an
    interrupt included, is kept, what comes after it is dropped, and `check` raises it; so does
    the end of the context, in place of what the library made of it. A file that was written
    without an error is on the disk then.

    Parameters
    ----------
    path
        Must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path, "x+")
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any) -> int:
        """Write all of it."""
        view = memoryview(data)
        try:
            left = view if self._failure is None else view[:0]
            while left:
                left = left[self._file.write(left) :]
        except BaseException as exc:
            self._failure = exc
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file longer or shorter."""
        try:
            if self._failure is None:
                return self._file.truncate(size)
        except OSError as exc:
            self._failure = exc
        return size or 0

    def readinto(self, buffer: Any) -> int:
        """Read into memory, as HDF5 does with what it wrote before."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Tell the place."""
        return self._file.tell()

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            self.check()
            if exc is None:
                os.fsync(self._file.fileno())


def target(path: Path, *, folder: bool, force: bool, ours: Ours) -> AbstractContextManager[Path]:
    """Give a context that gives the temporary path to write to.

    Leaving it without an exception renames what is there; with one, nothing is left.

    Parameters
    ----------
    path
        The name that it gets; folders above it are made.
    folder
        Whether it is a folder; it is made then.
    force
        Replace what has the name now.
    ours
        Given a folder's file names, tells whether a conversion made it: no other folder is
        replaced.

    Raises
    ------
    InputError
        The name is taken, or can't be given.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow a link

    def check() -> None:
        if os.path.lexists(path):
            _check_taken(path, folder=folder, force=force, ours=ours)
        check_replaceable(path.parent / ".sparsefeat" if folder else path)

    check()
    return (_new_folder if folder else _new_file)(path, check)


@contextmanager
def _new_file(path: Path, check: Callable[[], None]) -> Iterator[Path]:
    with replacing(path) as temporary:
        yield temporary
        check()  # the name may have been taken in the meantime


@contextmanager
def _new_folder(path: Path, check: Callable[[], None]) -> Iterator[Path]:
    token = secrets.token_hex(4)  # not the whole name, which may be as long as names can be
    temporary = path.parent / f".sparsefeat-{token}.tmp"
    with create_folder(path.parent):
        temporary.mkdir()
        try:
            yield temporary
            check()
            sync(temporary)
            _rename(temporary, path, path.parent / f".sparsefeat-{token}.old")
        finally:
            if temporary.exists():
                shutil.rmtree(temporary)


def _rename(temporary: Path, path: Path, aside: Path) -> None:
    if not path.exists():
        temporary.rename(path)
        sync(path.parent)
        return
    # No system renames a folder over a full one: the old one steps aside first.
    path.rename(aside)
    try:
        temporary.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    sync(path.parent)
    shutil.rmtree(aside)


def _check_taken(path: Path, *, folder: bool, force: bool, ours: Ours) -> None:
    if not force:
        raise InputError(
            f"{str(path)!r} exists, expected a new name: choose another one, or replace it with "
            "force (--force)"
        )
    if is_special(path) or folder != (path.is_dir() and not (folder and path.is_symlink())):
        kinds = ("a file or a link", "a folder"), ("a folder or a device", "a file")
        got, expected = kinds[0 if folder else 1]
        raise InputError(
            f"{str(path)!r} is {got}, expected {expected} to replace: choose another name"
        )
    if folder and not ours({entry.name for entry in path.iterdir()}):
        raise InputError(
            f"{str(path)!r} holds other things than a conversion's, expected a folder that one "
            "made: choose another name"
        )
