"""A store's bytes in an object store: S3 and what speaks its protocol, Google Cloud, Azure.

Objects are whole from the moment that they can be seen, and there are no folders. A snapshot is
created with ``If-None-Match: *``; the answer may get lost, so what is there afterwards decides.
"""

import errno
import io
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final

from sparsefeat.errors import StoreWriteError
from sparsefeat.storage.interface import Usage
from sparsefeat.system import importing

_UPLOADS_AT_ONCE: Final = 8
_MOST_WAITING_BYTES: Final = 128 << 20
_TRIES: Final = 8  # to create an object whose fate isn't known, .1 s to 12.8 s apart
_PARTS_REMEMBERED: Final = 1024
_READ_AHEAD_BYTES: Final = 8 << 20


class ObjectFile:
    """An object whose ranges can be read; safe in several threads."""

    def __init__(self, storage: "ObjectStorage", key: str, size: int) -> None:
        self._storage, self._key = storage, key
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Read a range; fewer bytes where the object ends before."""
        return self._storage.read_range(self._key, offset, min(length, self.size - offset))


class ObjectStorage:
    """The operations that a store needs, on objects whose names begin with a URL.

    Everything that the server or the network refuses is an `OSError`; answers of 5xx, dropped
    connections and timeouts are retried before, for up to three minutes.

    Parameters
    ----------
    url
        Such as ``s3://bucket/features``. Keys, region and endpoint come from the environment:
        ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``,
        ``AZURE_STORAGE_ACCOUNT_NAME`` and the like.

    Raises
    ------
    DependencyError
        obstore isn't installed, or doesn't load.
    OSError
        The URL or the environment is not such as the service wants it.
    """

    reads_at_once = 16

    def __init__(self, url: str) -> None:
        with importing("obstore", "pip install 'sparsefeat[cloud]'"):
            import obstore
            from obstore import store as stores
        self.location = url.rstrip("/")
        self._obstore = obstore
        with self._translated(""):
            # Whoever names an endpoint without TLS means it.
            plain: Any = {"allow_http": True} if _has_plain_endpoint() else {}
            self._store: Any = stores.from_url(self.location, client_options=plain)
        self._pool: ThreadPoolExecutor | None = None
        self._uploads: dict[str, list[Future[None]]] = {}
        self._waiting = _Budget(_MOST_WAITING_BYTES)
        self._clock: float | None = None  # the server's, less `time.monotonic`
        self._sizes_of = lru_cache(_PARTS_REMEMBERED)(self._list_sizes)

    def __str__(self) -> str:
        return self.location

    def __reduce__(self) -> tuple[type["ObjectStorage"], tuple[str]]:
        return ObjectStorage, (self.location,)

    def name(self, key: str) -> str:
        """Give the URL of a key, for a message."""
        return f"{self.location}/{key}" if key else self.location

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of this name, or one below it."""
        return self._has_object(key) or self.is_folder(key)

    def is_folder(self, prefix: str = "") -> bool:
        """Tell whether there is an object below a key."""
        with self._translated(prefix):
            for some in self._obstore.list(self._store, prefix or None, chunk_size=1):
                return bool(some)
        return False

    def names(self, prefix: str) -> list[str]:
        """List the names directly below a key, sorted."""
        with self._translated(prefix):
            found = self._obstore.list_with_delimiter(self._store, prefix or None)
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def walk(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        """Give the names of all objects below a key, relative to it, and their sizes in bytes."""
        yield from self._list_sizes(prefix).items()

    @contextmanager
    def open(self, key: str) -> Iterator[ObjectFile]:
        """Open an object for reading ranges of it."""
        yield ObjectFile(self, key, self.size(key))

    def read(self, key: str, most: int) -> bytes:
        """Read a whole object of at most so many bytes; ValueError if it is longer."""
        with self._translated(key):
            # One byte more tells of too much.
            result = self._obstore.get(self._store, key, options={"range": (0, most + 1)})
            size = int(result.meta["size"])
            if size > most:
                raise ValueError(f"{key} has {size} bytes, expected at most {most}")
            return bytes(result.bytes())

    def read_dated(self, key: str, most: int) -> tuple[bytes, int]:
        """Read a whole object as `read` does, and give the time of its last change, too."""
        with self._translated(key):
            result = self._obstore.get(self._store, key, options={"range": (0, most + 1)})
            if int(result.meta["size"]) > most:
                raise ValueError(f"{key} has {result.meta['size']} bytes, expected at most {most}")
            return bytes(result.bytes()), _nanoseconds(result.meta["last_modified"])

    def objects(self, prefix: str) -> Iterator[tuple[str, int, int]]:
        """List objects: see `list_objects`."""
        start = len(prefix) + 1 if prefix else 0
        with self._translated(prefix):
            if prefix and self._has_object(prefix):
                found = self._obstore.head(self._store, prefix)
                yield "", int(found["size"]), _nanoseconds(found["last_modified"])
            for page in self._obstore.list(self._store, prefix or None, chunk_size=1000):
                for each in page:
                    changed = _nanoseconds(each["last_modified"])
                    yield each["path"][start:], int(each["size"]), changed

    def object_size(self, key: str) -> int:
        """Give the size of an object that is no part's, in bytes."""
        with self._translated(key):
            return int(self._obstore.head(self._store, key)["size"])

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Read a range of an object; fewer bytes where it ends before."""
        if length <= 0:
            return b""
        with self._translated(key):
            return bytes(self._obstore.get_range(self._store, key, start=offset, length=length))

    def size(self, key: str) -> int:
        """Give the size of an object in bytes.

        A part never changes, so one listing serves all that is asked about its objects.
        """
        part, inner = _split(key)
        sizes = self._sizes_of(part)
        if inner not in sizes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name(key))
        return sizes[inner]

    def claim(self, prefix: str) -> list[Path]:
        """See that two writers can't create the same object: there are no folders to make.

        Raises
        ------
        StoreWriteError
            The server takes both.
        """
        probe = f"{prefix}/.{secrets.token_hex(8)}.tmp"
        with self._translated(probe):
            self._put_new(probe, b"1")
            try:
                both = self._put_new(probe, b"2")
            finally:
                self._obstore.delete(self._store, probe)
        if both:
            raise StoreWriteError(
                f"{self.location} lies on a server that ignores If-None-Match, expected one on "
                "which two writers can't both create an object: a commit could be lost. Use "
                "another server, or write to a local folder and copy it"
            )
        return []

    def unmake(self, folders: Iterable[Path]) -> None:
        """Do nothing: `claim` leaves nothing."""

    def make_new(self, prefix: str) -> None:
        """Do nothing: there are no folders."""

    def write(self, key: str, pieces: Iterable[bytes]) -> int:
        """Begin to upload a new object; `sync` waits for it.

        Raises
        ------
        OSError
            An upload that was begun before has failed.
        """
        content = b"".join(pieces)
        part, _ = _split(key)
        uploads = self._uploads.setdefault(part, [])
        for done in [each for each in uploads if each.done()]:
            uploads.remove(done)
            done.result()
        self._waiting.take(len(content))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                _UPLOADS_AT_ONCE, thread_name_prefix="sparsefeat-upload"
            )
        uploads.append(self._pool.submit(self._upload, key, content))
        return len(content)

    def sync(self, prefix: str) -> None:
        """Wait until all that was written below a key is stored."""
        uploads = self._uploads.pop(prefix, [])
        failures = [exc for each in uploads if (exc := each.exception()) is not None]
        if failures:
            raise failures[0]

    def create(self, key: str, content: bytes) -> bool:
        """Create an object unless there is one: then return False.

        No two contents are the same, so an object that has this one was created by this call,
        even if the answer that said so got lost.
        """
        pause = 0.1
        for last in (*[False] * (_TRIES - 1), True):
            try:
                if self._put_new(key, content):
                    return True
            except OSError as exc:
                if last or isinstance(exc, PermissionError):
                    raise
            # Refused: by an object that is there, or by another writer who has just asked (409).
            # Or the answer got lost.
            try:
                return self.read(key, len(content)) == content
            except ValueError:  # longer
                return False
            except FileNotFoundError:
                time.sleep(pause * (1 + secrets.randbelow(100) / 100))
                pause *= 2
        raise OSError(errno.EAGAIN, "the server neither creates the object nor has it", key)

    def delete(self, prefix: str) -> None:
        """Delete an object, or all below a key: a part's root first, so that nobody reads half."""
        for waiting in self._uploads.pop(prefix, []):
            waiting.cancel()
            waiting.exception() if not waiting.cancelled() else None
        inner = list(self._list_sizes(prefix))
        with self._translated(prefix):
            if not inner:
                self._obstore.delete(self._store, prefix)
                return
            if "zarr.json" in inner:
                self._obstore.delete(self._store, f"{prefix}/zarr.json")
            self._obstore.delete(
                self._store, [f"{prefix}/{name}" for name in inner if name != "zarr.json"]
            )
        self._sizes_of.cache_clear()

    def usage(self, prefix: str = "") -> Usage:
        """Add up what lies below a key."""
        sizes = self._list_sizes(prefix)
        total = sum(sizes.values())
        return Usage(files=len(sizes), stored_bytes=total, allocated_bytes=total)

    def age(self, prefix: str) -> float:
        """Give the seconds since anything at or below a key was written, by the server's clock."""
        with self._translated(prefix):
            pages = self._obstore.list(self._store, prefix, chunk_size=1000)
            times = [each["last_modified"].timestamp() for page in pages for each in page]
            if not times:
                times = [self._obstore.head(self._store, prefix)["last_modified"].timestamp()]
        if self._clock is None:
            self._clock = self._server_time() - time.monotonic()
        return max(0.0, time.monotonic() + self._clock - max(times))

    def identity(self) -> tuple[int, int]:
        """Give the same always: nothing else comes to lie at a URL."""
        return (0, 0)

    def _server_time(self) -> float:
        probe = f"snapshots/.{secrets.token_hex(8)}.tmp"
        self._obstore.put(self._store, probe, b"1")
        try:
            return float(self._obstore.head(self._store, probe)["last_modified"].timestamp())
        finally:
            self._obstore.delete(self._store, probe)

    def _has_object(self, key: str) -> bool:
        if not key:
            return False
        try:
            with self._translated(key):
                self._obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def _list_sizes(self, prefix: str) -> dict[str, int]:
        start = len(prefix) + 1 if prefix else 0
        with self._translated(prefix):
            pages = self._obstore.list(self._store, prefix or None, chunk_size=1000)
            return {each["path"][start:]: int(each["size"]) for page in pages for each in page}

    def _upload(self, key: str, content: bytes) -> None:
        try:
            with self._translated(key):
                self._obstore.put(self._store, key, content)
        finally:
            self._waiting.give_back(len(content))

    def _put_new(self, key: str, content: bytes) -> bool:
        with self._translated(key):
            try:
                self._obstore.put(self._store, key, content, mode="create")
            except self._obstore.exceptions.AlreadyExistsError:
                return False
        return True

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        """Raise what obstore raises as the `OSError` that it means."""
        exceptions = self._obstore.exceptions
        try:
            yield
        except FileNotFoundError as exc:
            raise FileNotFoundError(
                errno.ENOENT, os.strerror(errno.ENOENT), self.name(key)
            ) from exc
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as exc:
            raise PermissionError(errno.EACCES, _brief(exc), self.name(key)) from exc
        except exceptions.BaseError as exc:
            raise OSError(errno.EIO, _brief(exc), self.name(key)) from exc


@lru_cache(16)
def _bucket(url: str) -> ObjectStorage:
    return ObjectStorage(url)


def _in_bucket(url: str) -> tuple[ObjectStorage, str]:
    """Give the bucket of a URL, and the name of the object in it.

    Connections are shared by all that is read from a bucket.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return _bucket(f"{scheme}://{bucket}"), key


def list_objects(url: str) -> Iterator[tuple[str, int, int]]:
    """List the objects at or below a URL, by their names' bytes, a page at a time.

    Returns
    -------
    Of each its name relative to `url` (empty for an object of just that name), its size in bytes,
    and the time of its last change in nanoseconds since 1970.

    Raises
    ------
    OSError
        The server refused.
    """
    storage, key = _in_bucket(url)
    yield from storage.objects(key.rstrip("/"))


def read_object(url: str, most: int) -> tuple[bytes, int]:
    """Read a whole object; give its bytes and the time of its last change in nanoseconds.

    Raises
    ------
    OSError
        It isn't there, or the server refused.
    ValueError
        It has more than `most` bytes.
    """
    storage, key = _in_bucket(url)
    return storage.read_dated(key, most)


def open_object(url: str) -> IO[bytes]:
    """Open an object for reading at any place; it is read ahead by some megabytes."""
    storage, key = _in_bucket(url)
    return io.BufferedReader(_ObjectReader(storage, key), _READ_AHEAD_BYTES)


class _ObjectReader(io.RawIOBase):
    """An object as a file that can be read."""

    def __init__(self, storage: ObjectStorage, key: str) -> None:
        self._storage, self._key = storage, key
        self._size, self._position = storage.object_size(key), 0

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

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._position))
        content = self._storage.read_range(self._key, self._position, length)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


class _Budget:
    """Bytes that may wait to be uploaded; one object larger than all of them may, alone."""

    def __init__(self, n_bytes: int) -> None:
        self._most = self._left = n_bytes
        self._changed = threading.Condition()

    def take(self, n_bytes: int) -> None:
        wanted = min(n_bytes, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted

    def give_back(self, n_bytes: int) -> None:
        with self._changed:
            self._left += min(n_bytes, self._most)
            self._changed.notify_all()


def _split(key: str) -> tuple[str, str]:
    """Cut a key into the first two names, a part's, and what is inside.

    Examples
    --------
    >>> _split("parts/0123456789abcdef.zarr/obs/path/c.0")
    ('parts/0123456789abcdef.zarr', 'obs/path/c.0')
    """
    first, second, *rest = [*key.split("/"), ""]
    return f"{first}/{second}", "/".join(rest).rstrip("/")


def _has_plain_endpoint(environment: Mapping[str, str] = os.environ) -> bool:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
    return any(environment.get(name, "").startswith("http://") for name in names)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000  # servers count whole seconds


def _brief(exc: BaseException) -> str:
    """Take the first line of what obstore says: it goes on with its source code's own structure."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0] if lines else type(exc).__name__
