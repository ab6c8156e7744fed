"""Writes files that appear when they are complete, however libraries handle errors."""

import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sparsefeat.errors import InputError
from sparsefeat.storage import check_replaceable, create_folder, is_special, replacing, sync

Ours = Callable[[set[str]], bool]


class Sink(io.FileIO):
    """A new file for libraries that can't handle a full disk.

    HDF5 can't close a file whose last blocks it can't write, and zip and Parquet files write
    their tables of contents when they are closed after an error. So the sink keeps the first
    error, an interrupt included, and drops all later writes. `check` raises that error, and so
    does the end of the context, instead of the library's own error. Without an error the file is
    synced at the end of the context.

    Parameters
    ----------
    path
        The file, which must not exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x+")
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any) -> int:
        """Write all of `data`."""
        view = memoryview(data)
        try:
            left = view if self._failure is None else view[:0]
            while left:
                left = left[super().write(left) :]
        except BaseException as exc:
            self._failure = exc
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        try:
            if self._failure is None:
                return super().truncate(size)
        except OSError as exc:
            self._failure = exc
        return size or 0

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with closing(self):
            self.check()
            if exc is None:
                os.fsync(self.fileno())


@contextmanager
def target(path: Path, *, folder: bool, force: bool, ours: Ours) -> Iterator[Path]:
    """Yield a temporary path, and rename it at the end.

    After an exception nothing is left.

    Parameters
    ----------
    path
        The final name; missing folders are created.
    folder
        Whether to create a folder rather than a file.
    force
        Whether to replace an existing output.
    ours
        Returns whether a conversion made a folder, from its file names; other folders aren't
        replaced.

    Raises
    ------
    InputError
        The name exists, or can't be written.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow a link

    def check() -> None:
        if os.path.lexists(path):
            _check_taken(path, folder=folder, force=force, ours=ours)
        check_replaceable(path.parent / ".sparsefeat" if folder else path)

    check()
    with (_new_folder if folder else replacing)(path) as temporary:
        yield temporary
        check()  # the name may have been taken in the meantime


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    token = secrets.token_hex(4)  # not the name, which may already have the maximum length
    temporary = path.parent / f".sparsefeat-{token}.tmp"
    with create_folder(path.parent):
        temporary.mkdir()
        try:
            yield temporary
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
    # No system renames a folder over one that isn't empty, so the old one is moved first.
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
            f"{str(path)!r} exists already: choose another name, or replace it with force (--force)"
        )
    if is_special(path) or folder != (path.is_dir() and not (folder and path.is_symlink())):
        kinds = ("a file or a link", "a folder"), ("a folder or a device", "a file")
        got, expected = kinds[0 if folder else 1]
        raise InputError(
            f"{str(path)!r} is {got}, expected {expected} to replace: choose another name"
        )
    if folder and not ours({entry.name for entry in path.iterdir()}):
        raise InputError(
            f"{str(path)!r} contains files that no conversion made, so it isn't replaced: choose "
            "another name"
        )
