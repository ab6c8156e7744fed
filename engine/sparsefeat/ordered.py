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
    memory stays bounded. Closing the iterator drops what hasn't begun.

    Raises
    ------
    Exception
        Whatever `work` or `items` raised, where its result would have come.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sparsefeat-stage")
    pending: deque[Future[R]] = deque()
    source, failure = iter(items), None
    try:
        while True:
            try:
                pending.append(pool.submit(work, next(source)))
            except StopIteration:
                break
            except Exception as exc:  # raised once all that came before it is handed out
                failure = exc
                break
            while pending and (len(pending) >= ahead or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
