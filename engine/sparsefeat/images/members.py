"""Find one image in a container by its path."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from sparsefeat.images.containers import list_members
from sparsefeat.images.patterns import is_container
from sparsefeat.images.source import Found, NoImagesError, Source

_OPENED: Final = 2  # containers whose member names are kept in memory
_FRESH_SECONDS: Final = 60.0


def container_above(path: str) -> str | None:
    """Return the part of a path that names a container, if the path continues after it.

    Examples
    --------
    >>> container_above("s3://bucket/00000.tar/000000012.jpg")
    's3://bucket/00000.tar'
    """
    names = path.split("/")
    for depth, name in enumerate(names[:-1], start=1):
        if is_container(name):
            return "/".join(names[:depth])
    return None


def find_member(container: Source, path: str) -> Found | None:
    """Find the image with a path, as in `Source.path`, in the container that the path starts with.

    A container without random access, such as a compressed tar, is read on from the last requested
    member: requesting all members in order reads the container once.
    """
    return _members(container).find(path)


class _Members:
    """The members of a container, listed as far as they were requested."""

    def __init__(self, container: Source) -> None:
        self._container, self._lock = container, threading.Lock()
        self._known: dict[str, Found] = {}
        self._left = self._listed()

    def find(self, path: str) -> Found | None:
        with self._lock:
            known = self._known.get(path)
            if known is not None and (not isinstance(known, Source) or known.member is not None):
                return known
            if known is not None:  # an earlier request has skipped its content: list again
                self._left = self._listed()
            for each in self._left:
                bare = replace(each, content=None) if isinstance(each, Source) else each
                self._known.setdefault(each.path, bare)  # the first of a name counts
                if each.path == path:
                    return each
            return None

    def _listed(self) -> Iterator[Found]:
        try:
            yield from list_members(self._container, lambda names, file: True)
        except NoImagesError:
            return


@lru_cache(_OPENED)
def _members(container: Source) -> _Members:
    return _Members(container)


class Recent:
    """Caches the last container for a minute, because looking up an object takes a request."""

    def __init__(self) -> None:
        self._last: tuple[object, float, Source] | None = None

    def get(self, key: object) -> Source | None:
        """Return the cached container if it has this key and is recent."""
        last = self._last
        fresh = last is not None and last[0] == key and time.monotonic() < last[1]
        return last[2] if last is not None and fresh else None

    def put(self, key: object, found: Source) -> None:
        """Cache a container."""
        self._last = key, time.monotonic() + _FRESH_SECONDS, found
