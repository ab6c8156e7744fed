"""List images in a separate thread, while the first of them are processed."""

import pickle
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from sparsefeat.images.source import Source
from sparsefeat.types import Reject

_TOGETHER: Final = 1024  # images in a block
_UNPACKED: Final = 32  # blocks that wait uncompressed; others are compressed to 30 B/image
_FIRST: Final = 64  # images in the first block, so that work starts early
_WAKE_SECONDS: Final = 0.1
# Of images listed with their content: bytes in a block, and number of blocks that wait.
_CONTENT_BYTES: Final = 16 << 20
_CONTENTS_WAITING: Final = 4


class ImageStream:
    """Images that a separate thread lists; they can be iterated once.

    Listing may run far ahead, because waiting records are compressed to a tenth of their memory.

    Parameters
    ----------
    images
        The iterable that the thread consumes.

    Attributes
    ----------
    n_listed
        Number of images listed so far.
    complete
        Whether listing has finished.
    """

    def __init__(self, images: Iterable[Source | Reject]) -> None:
        self.n_listed, self.complete = 0, False
        self._closed = False
        self._waiting: deque[bytes | list[Source | Reject]] = deque()
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        # A daemon thread: if a folder does not respond, the process must still be able to end.
        threading.Thread(
            target=self._list, args=(iter(images),), name="sparsefeat-list", daemon=True
        ).start()

    def wait(self, seconds: float) -> bool:
        """Wait until there is an image or listing has ended; return False after `seconds`.

        Raises
        ------
        Exception
            The exception that ended the listing, once all images before it were taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, seconds)
            if self._failure is not None and not self._waiting:
                raise self._failure
            return bool(self._waiting) or self._ended

    def wait_for_all(self, seconds: float) -> bool:
        """Wait until all images are listed, for at most `seconds`; return whether they are."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, seconds)
            return self.complete

    def blocks(self, stop: threading.Event) -> Iterator[list[Source | Reject]]:
        """Yield blocks of images until `stop` is set.

        Raises
        ------
        Exception
            The exception that ended the listing, once all images before it were yielded.
        """
        while not stop.is_set():
            if not self.wait(_WAKE_SECONDS):
                continue
            if not self._waiting:
                return
            some = self._waiting.popleft()
            if isinstance(some, bytes):
                some = pickle.loads(zlib.decompress(some))  # pickled by `_list`
            yield some

    def close(self) -> None:
        """Stop listing."""
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
            if n_bytes:  # images with content take memory: wait until some are processed
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
