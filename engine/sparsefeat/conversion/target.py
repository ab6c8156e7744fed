"""A file or folder that appears under its name when it is whole, and not before."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from sparsefeat.errors import InputError
from sparsefeat.store.durable import sync


class Target:
    """A context that gives the temporary path to write to.

    Leaving it without an exception renames what is there; with one, nothing is left.

    Parameters
    ----------
    path
        The name that it gets.
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

    def __init__(
        self, path: Path, *, folder: bool, force: bool, ours: Callable[[set[str]], bool]
    ) -> None:
        self._path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow a link
        self._folder, self._force, self._ours = folder, force, ours
        # Not the whole name, which may be as long as names can be.
        self._token = secrets.token_hex(4)
        self._temporary = self._path.parent / f".sparsefeat-{self._token}.tmp"
        self._check()

    def __enter__(self) -> Path:
        if self._folder:
            self._temporary.mkdir()
        return self._temporary

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                self._commit()
        finally:
            _remove(self._temporary)

    def _check(self) -> None:
        parent = self._temporary.parent
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise InputError(
                f"can't write {str(self._path)!r}, expected a name in a folder that exists and "
                "may be written to: name another one"
            )
        if not os.path.lexists(self._path):
            return
        if not self._force:
            raise InputError(
                f"{str(self._path)!r} exists, expected a new name: choose another one, or replace "
                "it with force (--force)"
            )
        if self._folder != (self._path.is_dir() and not self._path.is_symlink()):
            kinds = ("a file", "a folder") if self._folder else ("a folder", "a file")
            raise InputError(
                f"{str(self._path)!r} is {kinds[0]} or a link, expected {kinds[1]} to replace: "
                "choose another name"
            )
        if self._folder and not self._ours({entry.name for entry in self._path.iterdir()}):
            raise InputError(
                f"{str(self._path)!r} holds other things than a conversion's, expected a folder "
                "that one made: choose another name"
            )

    def _commit(self) -> None:
        self._check()  # the name may have been taken in the meantime
        parent = self._temporary.parent
        if self._folder:
            sync(self._temporary)
        if not (self._folder and self._path.exists()):
            self._temporary.replace(self._path)
            sync(parent)
            return
        # No system renames a folder over a full one: the old one steps aside first.
        aside = parent / f".sparsefeat-{self._token}.old"
        self._path.rename(aside)
        try:
            self._temporary.rename(self._path)
        except BaseException:
            aside.rename(self._path)
            raise
        sync(parent)
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
