"""One image in a file that holds others, by its path."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from sparsefeat.images.containers import list_members
from sparsefeat.images.patterns import is_container
from sparsefeat.images.source import Found, NoImagesError, Source

_OPENED: Final = 2  # files that hold others, of which the names are in memory
_FRESH_SECONDS: Final = 60.0


def container_above(path: str) -> str | None:
    """Give the part of a path that names a file which holds others, if it goes on behind it.

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
    """Find the image of a path, as `Source` has it, in the file that it starts with.

    Where members come with their bytes, as those of a compressed tar do, they are read on from the
    one that was asked for last: asked for in their order, all of them take one reading.
    """
    return _members(container).find(path)


class _Members:
    """What is in a file that holds others, listed as far as it was asked for."""

    def __init__(self, container: Source) -> None:
        self._container, self._lock = container, threading.Lock()
        self._known: dict[str, Found] = {}
        self._left = self._listed()

    def find(self, path: str) -> Found | None:
        with self._lock:
            known = self._known.get(path)
            if known is not None and (not isinstance(known, Source) or known.member is not None):
                return known
            if known is not None:  # its bytes have been passed
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
    """Remembers for a minute what was found last: each look at an object takes a request."""

    def __init__(self) -> None:
        self._last: tuple[object, float, Source] | None = None

    def get(self, key: object) -> Source | None:
        """Give what was kept under a key, if that was the last and is fresh."""
        last = self._last
        fresh = last is not None and last[0] == key and time.monotonic() < last[1]
        return last[2] if last is not None and fresh else None

    def keep(self, key: object, found: Source) -> None:
        """Keep what was found."""
        self._last = key, time.monotonic() + _FRESH_SECONDS, found
