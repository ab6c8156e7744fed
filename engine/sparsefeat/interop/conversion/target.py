"""A file or folder that appears under its name when it is whole, and not before."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sparsefeat.errors import InputError
from sparsefeat.storage import check_replaceable, is_special, made_folder, replacing, sync

Ours = Callable[[set[str]], bool]


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
    with made_folder(path.parent):
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
