"""A store's bytes in an object store: S3 and what speaks its protocol, Google Cloud, Azure.

An object is complete as soon as it is visible, and there are no folders. A snapshot is created with
``If-None-Match: *``. If the answer is lost, the object's content tells whether it was created.
"""

import errno
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from sparsefeat.errors import StoreWriteError
from sparsefeat.storage.any_keys import list_any_keys
from sparsefeat.storage.service import connect, repeated, translating

T = TypeVar("T")

_UPLOADS_AT_ONCE: Final = 8
_MAX_WAITING_BYTES: Final = 64 << 20
_TRIES: Final = 8  # to create an object if the result isn't known, .1 s to 12.8 s apart
_PARTS_REMEMBERED: Final = 1024


class ObjectFile:
    """An object whose ranges can be read; safe in several threads."""

    def __init__(self, storage: "ObjectStorage", key: str) -> None:
        self._storage, self._key = storage, key

    @property
    def size(self) -> int:
        """Size in bytes; reading a known range doesn't need it."""
        return self._storage.size(self._key)

    def read(self, offset: int, length: int) -> bytes:
        """Read a range, or fewer bytes if the object ends sooner."""
        return self._storage.read_range(self._key, offset, length)


class ObjectStorage:
    """The operations that a store needs, on objects whose names begin with a URL.

    Methods raise `OSError` if the server or the network refuses. Answers of 5xx, dropped
    connections and timeouts are retried for two minutes first. Files are uploaded in threads:
    `write` begins an upload, `sync` waits for it.

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
    StoreReadError
        The service can't be reached: the URL, the environment, the network, the permission.
    """

    reads_at_once = 16
    """How many ranges to read at the same time."""

    def __init__(self, url: str) -> None:
        self.location = url.rstrip("/")
        self._store: Any = connect(self.location)
        import obstore

        self._obstore = obstore
        self._pool: ThreadPoolExecutor | None = None
        self._uploads: dict[str, list[Future[None]]] = {}
        self._waiting = _Budget(_MAX_WAITING_BYTES)
        self._clock: float | None = None  # the server's, minus `time.monotonic`
        self._claimed = False
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
        return self.is_file(key) or self.is_folder(key)

    def is_file(self, key: str = "") -> bool:
        """Tell whether there is an object of exactly this name; the root is never one."""
        return key != "" and self._has_object(key)

    def is_folder(self, prefix: str = "") -> bool:
        """Tell whether there is an object below a key."""
        return self._asked(prefix, lambda: any(map(len, self._pages(prefix, 1))))

    def names(self, prefix: str) -> list[str]:
        """List the names directly below a key, sorted."""
        found = self._asked(
            prefix, lambda: self._obstore.list_with_delimiter(self._store, prefix or None)
        )
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        # Some services list an empty folder in itself.
        return sorted(
            path.rstrip("/").rpartition("/")[2] for path in paths if path.strip("/") != prefix
        )

    def list_files(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        """Give the names of all objects below a key, relative to it, and their sizes in bytes."""
        yield from self._list_sizes(prefix).items()

    @contextmanager
    def open(self, key: str) -> Iterator[ObjectFile]:
        """Open an object for reading ranges of it."""
        yield ObjectFile(self, key)

    def read(self, key: str, most: int) -> bytes:
        """Read a whole object of at most so many bytes; ValueError if it is longer."""
        content, _ = self.read_dated(key, most)
        return content

    def read_dated(self, key: str, most: int) -> tuple[bytes, int]:
        """Read a whole object as `read` does, and give when it changed, in nanoseconds."""

        def get() -> tuple[bytes, int]:
            result = self._obstore.get(self._store, key)
            if (size := int(result.meta["size"])) > most:
                raise ValueError(f"{key} has {size} bytes, expected at most {most}")
            return bytes(result.bytes()), _nanoseconds(result.meta)

        return self._asked(key, get)

    def look_at(self, key: str) -> tuple[int, int]:
        """Give an object's size in bytes, and when it changed, in nanoseconds since 1970."""
        meta = self._asked(key, lambda: self._obstore.head(self._store, key))
        return int(meta["size"]), _nanoseconds(meta)

    def objects(self, prefix: str) -> Iterator[tuple[str, int, int]]:
        """List the objects below a key: name relative to it, size, and when it changed.

        They are sorted by the bytes of their names, and listed in pages of a thousand. An S3 bucket
        may have names that can't be requested: `is_fetchable` tells which.
        """
        start, last = len(prefix) + 1 if prefix else 0, ""
        with translating(self.name(prefix)):
            try:
                for page in self._continued_pages(prefix):
                    for each in page:
                        last = each["path"]
                        yield last[start:], int(each["size"]), _nanoseconds(each)
            except self._obstore.exceptions.InvalidPathError:
                scheme, _, rest = self.location.partition("://")
                if scheme != "s3":
                    raise
                bucket, _, root = rest.partition("/")
                root = f"{root}/" if root else ""
                begin = f"{root}{prefix}/" if prefix else root
                after = f"{root}{last}" if last else ""
                for key, size, changed in list_any_keys(bucket, begin, after):
                    yield key[len(begin) :], size, changed

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Read a range of an object, or fewer bytes if it ends sooner."""
        if length <= 0:
            return b""

        def get() -> bytes:
            try:
                return bytes(self._obstore.get_range(self._store, key, start=offset, length=length))
            except self._obstore.exceptions.GenericError as exc:
                if " 416 " in str(exc):  # it ends before the range begins
                    return b""
                raise

        return self._asked(key, get)

    def size(self, key: str) -> int:
        """Give the size of an object in bytes.

        A part never changes, so one listing gives the sizes of all its objects.
        """
        part, inner = _split(key)
        sizes = self._sizes_of(part)
        if inner not in sizes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name(key))
        return sizes[inner]

    def claim(self, prefix: str) -> list[Path]:
        """Check, once, that two writers can't both create an object; no folders are needed.

        Raises
        ------
        StoreWriteError
            Both can create it.
        """
        if self._claimed:
            return []
        probe = f"{prefix}/.{secrets.token_hex(8)}.tmp"
        self.create(probe, b"1")
        try:
            both = self.create(probe, b"2")
        finally:
            self._delete(probe)
        self._claimed = not both
        if both:
            raise StoreWriteError(
                f"{self.location} lies on a server that ignores If-None-Match, expected one on "
                "which two writers can't both create an object: a commit could be lost. Use "
                "another server, or write to a local folder and copy it"
            )
        return []

    def unmake(self, folders: Iterable[Path]) -> None:
        """Do nothing: `claim` leaves nothing."""

    def check_writable(self, prefix: str) -> None:
        """Check that objects can be created, as `claim` does."""
        self.claim(prefix)

    def make_new(self, prefix: str) -> None:
        """Do nothing: there are no folders."""

    def write(self, key: str, pieces: Iterable[bytes]) -> int:
        """Begin to upload a new object; `sync` waits for it.

        Raises
        ------
        OSError
            An earlier upload has failed.
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
        upload = self._pool.submit(self._upload, key, content)
        upload.add_done_callback(lambda _: self._waiting.give_back(len(content)))
        uploads.append(upload)
        return len(content)

    def sync(self, prefix: str) -> None:
        """Wait until all that was written below a key is stored."""
        uploads = self._uploads.pop(prefix, [])
        failures = [exc for each in uploads if (exc := each.exception()) is not None]
        if failures:
            raise failures[0]

    def create(
        self, key: str, content: bytes, *, allowed: Callable[[], bool] = lambda: True
    ) -> bool:
        """Create an object; return False if it exists already, or if `allowed` does.

        Contents are unique. So an object with this content was created by this call, even if the
        answer was lost.
        """
        pause, failure = 0.1, None
        for number in range(_TRIES):
            if not allowed():
                return number > 0 and self._holds(key, content) is True
            try:
                if self._put_new(key, content):
                    return True
            except PermissionError:
                raise
            except OSError as exc:
                failure = exc
            # The object exists, or another writer has just requested the same (409), or the answer
            # was lost.
            if (ours := self._holds(key, content)) is not None:
                return ours
            time.sleep(pause * (1 + secrets.randbelow(100) / 100))
            pause *= 2
        raise failure or OSError(errno.EAGAIN, "the server neither creates it nor has it", key)

    def delete(self, prefix: str) -> None:
        """Delete an object, or all below a key, a part's root first: no reader sees half a part."""
        begun = [each for each in self._uploads.pop(prefix, []) if not each.cancel()]
        wait(begun)
        inner = [f"{prefix}/{name}" for name in self._list_sizes(prefix)]
        root = f"{prefix}/zarr.json"
        if root in inner or not inner:
            self._delete(root if inner else prefix)
        if rest := [key for key in inner if key != root]:
            self._delete(rest)
        self._sizes_of.cache_clear()

    def usage(self, prefix: str) -> tuple[int, int]:
        """Sum the bytes of the objects below a key; services count them as they are."""
        total = sum(self._list_sizes(prefix).values())
        return total, total

    def allocated_bytes(self) -> int | None:
        """Give None: services count the bytes that are stored."""
        return None

    def age(self, prefix: str, *, exact: bool = True) -> float:
        """Give the seconds since anything at or below a key was written, by the server's clock.

        If `exact` is False and no object may be created to read that clock, the local clock is
        used.
        """
        times = self._asked(
            prefix,
            lambda: (
                [self._time(each) for page in self._pages(prefix) for each in page]
                or [self._time(self._obstore.head(self._store, prefix))]
            ),
        )
        if self._clock is None:
            try:
                now = self._server_time()
            except PermissionError:
                if exact:
                    raise
                now = time.time()
            self._clock = now - time.monotonic()
        return max(0.0, time.monotonic() + self._clock - max(times))

    def identity(self) -> tuple[int, int]:
        """Return a constant: a URL always names the same storage."""
        return (0, 0)

    def _server_time(self) -> float:
        probe = f"snapshots/.{secrets.token_hex(8)}.tmp"
        self._upload(probe, b"1")
        try:
            return self._asked(probe, lambda: self._time(self._obstore.head(self._store, probe)))
        finally:
            self._delete(probe)

    @staticmethod
    def _time(meta: Any) -> float:
        return float(meta["last_modified"].timestamp())

    def _has_object(self, key: str) -> bool:
        try:
            self._asked(key, lambda: self._obstore.head(self._store, key))
        except FileNotFoundError:
            return False
        return True

    def _holds(self, key: str, content: bytes) -> bool | None:
        """Tell whether an object has this content; None if there is no object."""
        try:
            return self.read(key, len(content)) == content
        except ValueError:  # longer
            return False
        except FileNotFoundError:
            return None

    def _list_sizes(self, prefix: str) -> dict[str, int]:
        start = len(prefix) + 1 if prefix else 0
        return self._asked(
            prefix,
            lambda: {
                each["path"][start:]: int(each["size"])
                for page in self._pages(prefix)
                for each in page
            },
        )

    def _pages(self, prefix: str, size: int = 1000, after: str | None = None) -> Iterator[Any]:
        pages = self._obstore.list(self._store, prefix or None, offset=after, chunk_size=size)
        return iter(pages)

    def _continued_pages(self, prefix: str) -> Iterator[Any]:
        """List the objects below a key; a listing that breaks off goes on after the last one."""
        scheme, _, rest = self.location.partition("://")
        # Others list without an order, or ignore where to begin.
        in_order = scheme in ("s3", "gs") and not rest.partition("/")[0].endswith("--x-s3")
        pages: Iterator[Any] | None = None
        last: str | None = None
        listed: set[str] = set()  # on the last page: a folder's marker is listed again

        def next_page() -> Any:
            nonlocal pages
            if pages is None:
                pages = self._pages(prefix, after=last)
            try:
                return next(pages, None)
            except Exception:
                pages = None
                raise

        while (page := repeated(next_page) if in_order else next_page()) is not None:
            yield [each for each in page if each["path"] not in listed]
            listed, last = {each["path"] for each in page}, page[-1]["path"]

    def _upload(self, key: str, content: bytes) -> None:
        # In one request: an upload in several requests that is never completed must be paid for.
        self._asked(key, lambda: self._obstore.put(self._store, key, content, use_multipart=False))

    def _put_new(self, key: str, content: bytes) -> bool:
        with translating(self.name(key)):
            try:
                self._obstore.put(self._store, key, content, mode="create", use_multipart=False)
            except self._obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def _delete(self, keys: str | list[str]) -> None:
        key = keys if isinstance(keys, str) else keys[0]
        self._asked(key, lambda: self._obstore.delete(self._store, keys))

    def _asked(self, key: str, ask: Callable[[], T]) -> T:
        with translating(self.name(key)):
            return repeated(ask)


def _nanoseconds(meta: Any) -> int:
    return int(meta["last_modified"].timestamp()) * 1_000_000_000  # servers tell whole seconds


class _Budget:
    """Limits the bytes that wait to be uploaded; an object larger than the limit waits alone."""

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
    """Split a key into its first two names, which are a part's, and the rest.

    Examples
    --------
    >>> _split("parts/0123456789abcdef.zarr/obs/path/c.0")
    ('parts/0123456789abcdef.zarr', 'obs/path/c.0')
    """
    first, second, *rest = [*key.split("/"), ""]
    return f"{first}/{second}", "/".join(rest).rstrip("/")
