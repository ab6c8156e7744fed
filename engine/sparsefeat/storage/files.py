"""Objects of buckets that are read as files: images and archives."""

import io
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Final

from sparsefeat.storage.objects import ObjectStorage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_AHEAD_BYTES: Final = 8 << 20


def _split(url: str) -> tuple[ObjectStorage, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return ObjectStorage(f"{scheme}://{bucket}"), key.rstrip("/")


def list_objects(url: str) -> Iterator[tuple[str, int, int]]:
    """List the objects below a URL, by the bytes of their names.

    Returns
    -------
    For each object, its name relative to `url`, its size in bytes, and when it last changed, in
    nanoseconds since 1970.

    Raises
    ------
    OSError
        The server refused.
    """
    storage, key = _split(url)
    return storage.objects(key)


def look_at_object(url: str) -> tuple[int, int]:
    """Give the size of an object and when it changed; FileNotFoundError if there is none."""
    storage, key = _split(url)
    return storage.look_at(key)


def read_object(url: str, most: int) -> tuple[bytes, int]:
    """Read a whole object, and when it changed; ValueError if it has more than `most` bytes."""
    storage, key = _split(url)
    return storage.read_dated(key, most)


def open_object(
    url: str, *, size: int | None = None, read_ahead: int = _READ_AHEAD_BYTES
) -> IO[bytes]:
    """Open an object for reading at any position.

    Parameters
    ----------
    url
        The object's.
    size
        Its size in bytes, if known; otherwise a request asks for it.
    read_ahead
        Bytes to read in one request, at least.
    """
    return io.BufferedReader(_ObjectReader(*_split(url), size), read_ahead)


class _ObjectReader(io.RawIOBase):
    def __init__(self, storage: ObjectStorage, key: str, size: int | None) -> None:
        self._storage, self._key, self._position = storage, key, 0
        self._size = storage.look_at(key)[0] if size is None else size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        content = self._storage.read_range(self._key, self._position, length)
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
