"""Read the bytes of a listed image, or of the original image of a stored row."""

import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import IO

from sparsefeat.errors import InputError
from sparsefeat.images.containers import read_member
from sparsefeat.images.folders import lost_file
from sparsefeat.images.listing import find_image
from sparsefeat.images.pillow import MAX_PIXELS, open_image, pillow_errors
from sparsefeat.images.source import (
    LARGE_BYTES,
    Reason,
    Source,
    UnreadableError,
    check_unchanged,
    classify_os_error,
    decode_path,
    max_file_bytes,
)
from sparsefeat.storage import is_url, read_object
from sparsefeat.types import Reject

# Without O_NONBLOCK, opening a FIFO would wait for a writer forever.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)

_CHANGED = "the file changed since it was stored"


def read_file(source: Source, max_pixels: int) -> bytes:
    """Read a listed image into memory.

    Raises
    ------
    UnreadableError
        The file changed since it was listed, can't be read, is not a regular file, or is too large
        for an image of at most `max_pixels` pixels.
    """
    if source.content is not None:
        return source.content
    elsewhere = source.member is not None or is_url(source.file)
    if elsewhere and source.bytes > max_file_bytes(max_pixels):
        raise UnreadableError(Reason.OVERSIZED)
    try:
        if source.member is not None:
            content = read_member(source, source.member)
        elif elsewhere:
            content = _read_object(source)
        else:
            descriptor = os.open(source.file, _FLAGS)
            with os.fdopen(descriptor, "rb") as stream:
                content = _read(stream, source, max_pixels)
    except OSError as exc:
        raise classify_os_error(exc) from exc
    if len(content) != source.bytes:
        raise UnreadableError(Reason.CHANGED)
    if not content:
        raise UnreadableError(Reason.EMPTY)
    return content


def _read_object(source: Source) -> bytes:
    try:
        content, mtime_ns = read_object(source.file, source.bytes)
    except ValueError as exc:  # longer
        raise UnreadableError(Reason.CHANGED) from exc
    if mtime_ns != source.mtime_ns:
        raise UnreadableError(Reason.CHANGED)
    return content


def load(source: Source) -> Source:
    """Return `source` with its content, or unchanged if it can't be read."""
    try:
        with pillow_errors():
            return replace(source, content=read_file(source, MAX_PIXELS))
    except UnreadableError:
        return source  # `decode` will report why


def find_original(folder: str, path: str) -> Source | Reject:
    """Look up the file or container member that a row's path names below a folder."""
    inside = decode_path(path)
    if inside.startswith(("/", os.sep)) or ".." in inside.split("/"):
        return lost_file(folder, inside, UnreadableError(Reason.OUTSIDE))
    folder = folder.rstrip("/") if is_url(folder) else folder
    location = f"{folder}/{inside}" if is_url(folder) else os.fspath(Path(folder, inside))
    return find_image(location, root=folder)


def read_original(
    path: str,
    root: str,
    sha256: str,
    images: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
) -> bytes | str:
    """Read the original image of a stored row.

    Parameters
    ----------
    path, root, sha256
        As in `sparsefeat.types.Row`.
    images
        The folder of the images if they were moved; it replaces `root`.
    size
        `Row.bytes`, if known; a file of another size is not read.

    Returns
    -------
    bytes or str
        The bytes of the image; or the reason why there are none: the file is missing, can't be
        read, or has changed since it was stored.
    """
    if not path:
        return "not from a file"
    folder = decode_path(root) if images is None else os.fspath(images)
    try:
        source = find_original(folder, path)
    except InputError:
        return "the stored path is invalid"
    if not isinstance(source, Source):
        return source.reason
    if size is not None and source.bytes != size:
        return _CHANGED
    try:
        with pillow_errors():
            content = read_file(source, MAX_PIXELS)
    except UnreadableError as exc:
        return str(exc)
    if hashlib.sha256(content).hexdigest() != sha256:
        return _CHANGED
    return content


def _read(stream: IO[bytes], source: Source, max_pixels: int) -> bytes:
    found, listed = os.fstat(stream.fileno()), (source.bytes, source.mtime_ns)
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableError(Reason.FOLDER)
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError(Reason.SPECIAL)
    check_unchanged(found, listed)
    if found.st_size > LARGE_BYTES:
        if found.st_size > max_file_bytes(max_pixels):
            raise UnreadableError(Reason.OVERSIZED)
        try:
            open_image(stream, max_pixels)
        finally:  # if it can't be identified, it may have been truncated meanwhile
            check_unchanged(os.fstat(stream.fileno()), listed)
        stream.seek(0)
    content = stream.read() or b""  # None if no data are available yet
    check_unchanged(os.fstat(stream.fileno()), listed)
    return content
