"""Replacing a file only once its successor is complete and on the disk."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparsefeat.errors import InputError
from sparsefeat.storage.local import sync
from sparsefeat.system import validate_path


def write_file(file: str | os.PathLike[str], content: str | bytes) -> int:
    """Write a file, text as UTF-8; return its size in bytes.

    If anything fails, an existing file stays as it was. Missing folders are made; a link is
    followed; anything but a regular file, such as a pipe, is written to directly.

    Raises
    ------
    InputError
        The file can't be written.
    BrokenPipeError
        It is a pipe, and its reader has closed it.
    """
    data = content.encode() if isinstance(content, str) else content
    path = validate_path(file, "the output")
    try:
        if is_special(path):
            return path.write_bytes(data)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise InputError(refusal(path, exc)) from exc
    return len(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside a file to write its successor to; leaving replaces the file by it.

    The successor gets the file's permissions. After an exception, it is removed, and so are the
    folders that were made for it. If the file is a link, its target is replaced, not the link.

    Raises
    ------
    OSError
        The system refused.
    """
    final = Path(os.path.realpath(path))
    # Not the whole name, which may be as long as names can be.
    temporary = final.parent / f".sparsefeat-{secrets.token_hex(4)}.tmp"
    with create_folder(final.parent):
        if final.exists():
            with final.open("ab"):  # a rename does not check whether the file may be written
                pass
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                _take_over(final.stat(), temporary)
            temporary.replace(final)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    with suppress(OSError):  # some file systems can't sync folders
        sync(final.parent)


@contextmanager
def create_folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; after an exception, remove those that are new and empty."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first that isn't empty
            for each in new:
                each.rmdir()
        raise


def check_replaceable(file: str | os.PathLike[str]) -> None:
    """Check that `write_file` could write a file, before doing the work for it.

    Raises
    ------
    InputError
        It is a folder or a URL, or it or its folder may not be written.
    """
    path = Path(os.path.realpath(validate_path(file, "the output")))
    if is_special(Path(file)):
        return
    folder = next(each for each in path.parents if each.exists())
    if (
        path.is_dir()
        or (path.exists() and not os.access(path, os.W_OK))
        or not (folder.is_dir() and os.access(folder, os.W_OK))
    ):
        raise InputError(refusal(Path(file)))


def refusal(path: Path, exc: OSError | None = None) -> str:
    """Describe why a file, or a folder of files, can't be written, and what to do."""
    why = "" if exc is None else f" ({exc.strerror or exc})"
    return (
        f"can't write {str(path)!r}{why}, expected a file that may be written, in a folder that "
        "may be written to and has room: make room, or name another one"
    )


def is_special(path: Path) -> bool:
    """Tell whether a path is a pipe or a device, neither a regular file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _take_over(old: os.stat_result, new: Path) -> None:
    """Give a new file the owner and the permissions of the old one, as far as allowed."""
    made = new.stat()
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid) and hasattr(os, "chown"):
        with suppress(OSError):  # not allowed, or the owner has no number in this container
            os.chown(new, old.st_uid, old.st_gid)
    new.chmod(stat.S_IMODE(old.st_mode))
