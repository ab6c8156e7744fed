"""Opening a file of a part: where it should be, somebody may have put anything."""

import os
import stat
from pathlib import Path
from typing import IO

# Without waiting for the other end of a pipe, and without following a link out of the part.
_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
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
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        if path.is_symlink():
            raise ValueError(f"{path.name} is a link, expected a file") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path.name} is no regular file")
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """Read a file of at most so many bytes.

    Raises
    ------
    ValueError
        It is longer, or no file.
    OSError
        It is missing, or can't be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"{path.name} has {size} bytes, expected at most {most}")
        # One more than there should be, so that what grows meanwhile is noticed by its checksum.
        return file.read(size + 1)


def refuse_links(folder: Path, name: str) -> None:
    """See that no folder on the way from `folder` to what is `name`d in it is a link.

    Raises
    ------
    ValueError
        One is: it could lead out of the part.
    """
    for part in name.split("/"):
        folder = folder / part
        if folder.is_symlink():
            raise ValueError(f"{part} is a link, expected a folder")
