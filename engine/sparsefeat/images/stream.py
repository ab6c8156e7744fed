"""Listing images in a thread of its own, while the first of them are worked on."""

import pickle
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from sparsefeat.images.source import Source
from sparsefeat.types import Reject

_TOGETHER: Final = 1024  # images
_UNPACKED: Final = 32  # times as many wait as they are; those behind them in some 30 bytes each
_FIRST: Final = 64  # so few don't wait for more
_WAKE_SECONDS: Final = 0.1
# Of images that come with their bytes, so many together, and so many of these wait.
_CONTENT_BYTES: Final = 16 << 20
_CONTENTS_WAITING: Final = 4


class ImageStream:
    """Images that are listed in a thread of its own, to be gone through once.

    The whole listing may lie in memory, in a tenth of what its records take.

    Parameters
    ----------
    images
        What is gone through in that thread.

    Attributes
    ----------
    n_listed
        How many there are so far.
    complete
        Whether these are all.
    """

    def __init__(self, images: Iterable[Source | Reject]) -> None:
        self.n_listed, self.complete = 0, False
        self._closed = False
        self._waiting: deque[bytes | list[Source | Reject]] = deque()
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        # A daemon: what hangs in a folder that doesn't answer must not keep the process.
        threading.Thread(
            target=self._list, args=(iter(images),), name="sparsefeat-list", daemon=True
        ).start()

    def wait(self, seconds: float) -> bool:
        """Wait until there is an image, or there are none left; tell whether that is so.

        Raises
        ------
        Exception
            What listing raised behind the images that were taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, seconds)
            if self._failure is not None and not self._waiting:
                raise self._failure
            return bool(self._waiting) or self._ended

    def blocks(self, stop: threading.Event) -> Iterator[list[Source | Reject]]:
        """Yield the images, some together, until `stop` is set.

        Raises
        ------
        Exception
            What listing raised, behind what was listed before.
        """
        while not stop.is_set():
            if not self.wait(_WAKE_SECONDS):
                continue
            if not self._waiting:
                return
            some = self._waiting.popleft()
            if isinstance(some, bytes):
                some = pickle.loads(zlib.decompress(some))  # our own
            yield some

    def close(self) -> None:
        """End listing."""
        self._closed = True

    @property
    def _ended(self) -> bool:
        return self.complete or self._failure is not None

    def _list(self, images: Iterator[Source | Reject]) -> None:
        failure, ended, size = None, False, _FIRST
        while not (failure or ended or self._closed):
            some: list[Source | Reject] = []
            n_bytes = 0
            try:
                while len(some) < size and n_bytes < _CONTENT_BYTES and not self._closed:
                    if (image := next(images, None)) is None:
                        ended = True
                        break
                    some.append(image)
                    n_bytes += len(getattr(image, "content", None) or b"")
            except Exception as exc:
                failure = exc
            packed = None
            if n_bytes:  # from what can only be read in order: listing waits for the work
                self._wait_for_room()
            elif len(self._waiting) >= _UNPACKED:
                packed = zlib.compress(pickle.dumps(some), 1)
            with self._changed:
                if some:
                    self._waiting.append(packed or some)
                    self.n_listed += len(some)
                self.complete, self._failure = ended, failure
                self._changed.notify_all()
            size = _TOGETHER

    def _wait_for_room(self) -> None:
        while len(self._waiting) > _CONTENTS_WAITING and not self._closed:
            time.sleep(_WAKE_SECONDS)
