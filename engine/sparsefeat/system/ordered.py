"""Work in threads whose results come in the order of what went in."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ordered(
    work: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Generator[R, None, None]:
    """Apply `work` to each item in threads; yield the results in order.

    At most `ahead` items are begun and not yet handed out, so `items` may be endless and
    memory stays bounded. While a result is worked with, the others go on; the next item is begun
    when the caller asks for more. Closing the iterator drops what hasn't begun.

    Raises
    ------
    Exception
        Whatever `work` or `items` raised, where its result would have come.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sparsefeat-stage")
    pending: deque[Future[R]] = deque()
    source, failure = iter(items), None
    begun = 0  # since the last result was handed out
    try:
        while True:
            try:
                pending.append(pool.submit(work, next(source)))
            except StopIteration:
                break
            except Exception as exc:  # raised once all that came before it is handed out
                failure = exc
                break
            begun += 1
            # A result that is ready waits for two more items to be begun, no longer: the threads
            # always have something to do, and a slow source's results aren't held back.
            if len(pending) >= ahead or (begun >= 2 and pending[0].done()):
                yield pending.popleft().result()
                begun = 0
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
