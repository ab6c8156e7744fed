"""The bytes of a file, read once, whatever the file may be, or of the file of a stored row."""

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

# Opening a FIFO without O_NONBLOCK waits for a writer, for ever if there is none.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)

_CHANGED = "the file changed since it was stored"


def read_file(source: Source, max_pixels: int) -> bytes:
    """Read `source` into memory if it still is the regular file that was listed.

    Raises
    ------
    UnreadableError
        If it isn't, or can't be read, or can't be an image of at most `max_pixels`.
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
    """Read a file for all that needs its bytes; what can't be read is given back without them."""
    try:
        with pillow_errors():
            return replace(source, content=read_file(source, MAX_PIXELS))
    except UnreadableError:
        return source  # decoding it will say why


def find_original(folder: str, path: str) -> Source | Reject:
    """Find the file of a row's path below a folder, or its place in a file that holds others."""
    inside = decode_path(path)
    if inside.startswith(("/", os.sep)) or ".." in inside.split("/"):
        return lost_file(folder, inside, UnreadableError(Reason.OUTSIDE))
    folder = folder.rstrip("/") if is_url(folder) else folder
    place = f"{folder}/{inside}" if is_url(folder) else os.fspath(Path(folder, inside))
    return find_image(place, root=folder)


def read_original(
    path: str,
    root: str,
    sha256: str,
    images: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
) -> bytes | str:
    """Read the file that gave a row, or the image in a file that holds others.

    Parameters
    ----------
    path, root, sha256
        As in `sparsefeat.types.Row`.
    images
        Where the images are now, if they were moved: stands for `root`.
    size
        `Row.bytes`, if known: what has another size isn't read.

    Returns
    -------
    Its bytes; or why there are none: the file is gone, can't be read, or has other bytes than
    when it was stored.
    """
    if not path:
        return "not from a file"
    folder = decode_path(root) if images is None else os.fspath(images)
    try:
        source = find_original(folder, path)
    except InputError:
        return "a path that no file has"
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
        finally:  # what can't be identified may have been cut off meanwhile
            check_unchanged(os.fstat(stream.fileno()), listed)
        stream.seek(0)
    content = stream.read() or b""  # None where the system has nothing to give yet
    check_unchanged(os.fstat(stream.fileno()), listed)
    return content
