"""Writing to the store while the network runs on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from sparsefeat.records import Batch
from sparsefeat.store import StoreWriter


class Appender:
    """Hands batches to a `StoreWriter` in a thread of its own, in order, one at a time.

    Parameters
    ----------
    writer
        Where batches go.
    appended
        Called in that thread after each batch, with the batch and how many of its rows were new.

    Leaving the context waits for the last batch. What the writer raised is raised by the next
    `append`, or when leaving.
    """

    def __init__(self, writer: StoreWriter, appended: Callable[[Batch, int], None]) -> None:
        self._writer, self._appended = writer, appended
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sparsefeat-append")
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._settle()
        finally:
            self._thread.shutdown()

    def append(self, batch: Batch) -> None:
        """Begin to append a batch, once the one before is appended.

        More batches in between would only be memory, since a disk that is slower than the
        network stays slower.
        """
        self._settle()
        self._last = self._thread.submit(self._work, batch)

    def _settle(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _work(self, batch: Batch) -> None:
        self._appended(batch, self._writer.append(batch))
