"""How many threads this process may really use, how many it is asked for, and work in them."""

import functools
import math
import operator
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from sparsefeat.errors import InputError
from sparsefeat.system.cgroup import CGROUP_OF_PROCESS, CGROUP_ROOT, group_folders, read_text
from sparsefeat.system.text import counted

T = TypeVar("T")
R = TypeVar("R")

MAX_PER_PROCESSOR: Final = 4
MAX_ANYWHERE: Final = 64  # allowed on any machine, since a quota may not be what it seems
COUNT: Final = (1 << 31) - 1  # what libraries take for a number of things
MAX_BATCH_SIZE: Final = 4096  # of a benchmark: images that no machine has memory for are far above


def choose_threads(threads: int | None) -> int:
    """Give the number of threads that was asked for, or as many as may really be used.

    Raises
    ------
    InputError
        It is no whole number of at least 1, or more than four for each processor (64 on small
        machines).

    Warns
    -----
    UserWarning
        There are fewer processors.
    """
    available = available_threads()
    if threads is None:
        return available
    count = validate_threads("threads", threads)
    if count > available:
        warnings.warn(
            f"{count} threads were asked for, but this process may use "
            f"{counted(available, 'processor')}: they wait for each other, and fewer are faster",
            stacklevel=3,
        )
    return count


def validate_threads(name: str, threads: int) -> int:
    """Give a number of threads, if any machine could use so many; raises as `choose_threads`."""
    most = max(MAX_ANYWHERE, MAX_PER_PROCESSOR * (os.cpu_count() or 1))
    count = validate_count(name, threads)
    if count > most:
        raise InputError(
            f"{name} is {count}, expected at most {most}: more threads than processors are slower"
        )
    return count


def validate_count(name: str, value: int, most: int = COUNT) -> int:
    """Give a number of things, if it is one.

    Raises
    ------
    InputError
        It is no whole number from 1 to `most`.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if not 1 <= count <= most:
        raise InputError(f"{name} is {value!r}, expected a whole number from 1 to {most:,}")
    return count


def available_threads(
    *, cgroup_root: Path = CGROUP_ROOT, cgroup_of_process: Path = CGROUP_OF_PROCESS
) -> int:
    """Count the processors that this process may use, from its affinity and its CPU quota.

    ONNX Runtime and `os.cpu_count` count those of the host, which in a container that may
    use 2 of 64 gives 64 threads that wait for each other.

    Parameters
    ----------
    cgroup_root, cgroup_of_process
        Where Linux says what the quota is (cgroup v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``).

    Returns
    -------
    int
        At least 1; a quota of 1.5 processors gives 2.
    """
    quota = cpu_quota(cgroup_root=cgroup_root, cgroup_of_process=cgroup_of_process)
    processors = len(affinity() or ()) or os.cpu_count() or 1
    return processors if quota is None else max(1, min(processors, math.ceil(quota)))


def affinity() -> list[int] | None:
    """List the processors that this process may run on; None on macOS and Windows."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return None


def cpu_quota(
    *, cgroup_root: Path = CGROUP_ROOT, cgroup_of_process: Path = CGROUP_OF_PROCESS
) -> float | None:
    """Find the smallest quota on the way from the process' control group up to the root.

    Returns
    -------
    float or None
        In processors; None without a quota.
    """
    limits = [
        (_quota_v2 if version == 2 else _quota_v1)(folder)
        for folder, version in group_folders(
            "cpu", cgroup_root=cgroup_root, cgroup_of_process=cgroup_of_process
        )
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def _quota_v2(folder: Path) -> float | None:
    fields = read_text(folder / "cpu.max").split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return int(fields[0]) / int(fields[1])


def _quota_v1(folder: Path) -> float | None:
    quota = read_text(folder / "cpu.cfs_quota_us").strip()
    period = read_text(folder / "cpu.cfs_period_us").strip()
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


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


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="sparsefeat-chunks")


if hasattr(os, "register_at_fork"):  # threads don't survive a fork: the child starts its own
    os.register_at_fork(after_in_child=_threads.cache_clear)
