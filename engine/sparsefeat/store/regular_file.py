"""Opening a file of a part: where it should be, somebody may have put anything."""

import errno
import os
import stat
from pathlib import Path
from typing import IO

from sparsefeat.errors import StoreReadError

# Without waiting for the other end of a pipe, and without following a link out of the part.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
)


# What a part that is damaged, or made to harm, can bring about. Whatever else the system says is
# of the system: a permission, a drive, a network.
_OF_PART = frozenset(
    {
        None,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENXIO,  # a socket
        errno.EOVERFLOW,
    }
)


def read_refusal(path: Path, exc: BaseException) -> StoreReadError | None:
    """Say that the system refused to read a file below `path`; None if that isn't what `exc` is."""
    if not isinstance(exc, OSError) or exc.errno in _OF_PART:
        return None
    file = path if exc.filename is None else os.fsdecode(exc.filename)
    return StoreReadError(
        f"{file} can't be read: {exc.strerror}: see to the permission, the drive or the network, "
        "and run the same command again"
    )


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading, unbuffered.

    Raises
    ------
    ValueError
        It is a link, a pipe, a device or a folder.
    OSError
        It is missing, or can't be read.
    """
    descriptor, _ = _open(path)
    return os.fdopen(descriptor, "rb", buffering=0)


def read_regular(path: Path, most: int) -> bytes:
    """Read a file of at most so many bytes.

    Raises
    ------
    ValueError
        It is longer, or no file.
    OSError
        It is missing, or can't be read.
    """
    descriptor, size = _open(path)
    try:
        if size > most:
            raise ValueError(f"{path.name} has {size} bytes, expected at most {most}")
        content = os.read(descriptor, size)
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)


def _open(path: Path) -> tuple[int, int]:
    """Give the descriptor of a regular file, and its size."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        if path.is_symlink():
            raise ValueError(f"{path.name} is a link, expected a file") from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ValueError(f"{path.name} is no regular file")
    return descriptor, status.st_size


def refuse_links(folder: Path, name: str) -> None:
    """See that no folder on the way from `folder` to what is `name`d in it is a link.

    Raises
    ------
    ValueError
        One is: it could lead out of the part.
    """
    place = os.fspath(folder)
    for part in name.split("/"):
        place = f"{place}/{part}"
        try:
            mode = os.lstat(place).st_mode  # a third of what Path.is_symlink takes
        except OSError:
            return  # who reads it will say so
        if stat.S_ISLNK(mode):
            raise ValueError(f"{part} is a link, expected a folder")
