"""The bytes of a file, read once, whatever the file may be."""

import errno
import os
import stat
from typing import IO

from sparsefeat.pictures.opening import open_picture
from sparsefeat.pictures.source import Source
from sparsefeat.pictures.unreadable import Reason, UnreadableError, os_reason

# Opening a FIFO without O_NONBLOCK waits for a writer, for ever if there is none.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# Above this a file is identified by its header before it is read into memory: a folder of
# photographs may hold films.
_LARGE_BYTES = 64 << 20
# No picture takes more than 16 bits for each of four channels, plus metadata.
_BYTES_PER_PIXEL = 8


def read_file(source: Source, max_pixels: int) -> bytes:
    """Read `source` into memory if it still is the regular file that was listed.

    Raises
    ------
    UnreadableError
        If it isn't, or can't be read, or can't be a picture of at most `max_pixels`.
    """
    try:
        descriptor = os.open(source.file, _FLAGS)
        with os.fdopen(descriptor, "rb") as stream:
            return _read(stream, source, max_pixels)
    except OSError as exc:
        special = exc.errno == errno.ENXIO  # a socket
        raise UnreadableError(Reason.SPECIAL if special else os_reason(exc)) from exc


def _read(stream: IO[bytes], source: Source, max_pixels: int) -> bytes:
    found = os.fstat(stream.fileno())
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableError(Reason.FOLDER)
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError(Reason.SPECIAL)
    listed = (source.bytes, source.mtime_ns)
    if (found.st_size, found.st_mtime_ns) != listed:
        raise UnreadableError(Reason.CHANGED)
    if found.st_size > _LARGE_BYTES:
        if found.st_size > max_pixels * _BYTES_PER_PIXEL + _LARGE_BYTES:
            raise UnreadableError(Reason.OVERSIZED)
        open_picture(stream, max_pixels)
        stream.seek(0)
    content = stream.read()
    read = os.fstat(stream.fileno())
    if (read.st_size, read.st_mtime_ns) != listed or len(content) != read.st_size:
        raise UnreadableError(Reason.CHANGED)
    if not content:
        raise UnreadableError(Reason.EMPTY)
    return content
