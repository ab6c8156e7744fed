"""The threads in which chunks are encoded and decoded."""

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.system import available_threads, map_ordered

T = TypeVar("T")
R = TypeVar("R")

_scratch = threading.local()


def in_threads(task: Callable[[T], R], items: Iterable[T], at_least: int = 1) -> Iterator[R]:
    """Run a task on each item in as many threads as there are processors; results in order.

    Tasks that wait for a network want more threads: `at_least`. They must not wait for others of
    their kind.
    """
    return _threads(max(available_threads(), at_least)).map(task, items)


def overlapped(task: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Run a task that waits for a network on each item, some at once; results in order.

    In this thread where `at_once` is 1. Tasks may call `in_threads`.
    """
    if at_once == 1:
        return map(task, items)
    return map_ordered(task, items, threads=at_once, ahead=at_once)


def scratch(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Give memory of this thread's own, until it asks again."""
    n_bytes = count * np.dtype(dtype).itemsize
    memory: npt.NDArray[np.uint8] | None = getattr(_scratch, "memory", None)
    if memory is None or len(memory) < n_bytes:
        _scratch.memory = memory = np.empty(n_bytes, np.uint8)
    return memory[:n_bytes].view(dtype)


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="sparsefeat-chunks")


if hasattr(os, "register_at_fork"):  # threads don't survive a fork: the child starts its own
    os.register_at_fork(after_in_child=_threads.cache_clear)
