"""Writing to the store while the network runs on."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from sparsefeat.records import Batch
from sparsefeat.store import StoreWriter

# One batch being written, one waiting: more would only be memory, since a disk that is slower
# than the network stays slower.
WAITING_BATCHES = 1


class Appender:
    """Hands batches to a `StoreWriter` in a thread of its own, in order.

    Parameters
    ----------
    writer
        Where batches go.
    appended
        Called in that thread after each batch, with the batch and how many of its rows were new.

    Leaving the context waits until all are appended. What the writer raised is raised by the
    next `append`, or when leaving.
    """

    def __init__(self, writer: StoreWriter, appended: Callable[[Batch, int], None]) -> None:
        self._writer, self._appended = writer, appended
        self._queue: queue.Queue[Batch | None] = queue.Queue(maxsize=WAITING_BATCHES)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="sparsefeat-append")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def append(self, batch: Batch) -> None:
        """Queue a batch; waits while the one before is waiting itself."""
        if self._error is not None:
            raise self._error
        self._queue.put(batch)

    def _work(self) -> None:
        # After an error batches are still taken, so that `append` never waits for ever.
        while (batch := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._appended(batch, self._writer.append(batch))
                except BaseException as exc:
                    self._error = exc
