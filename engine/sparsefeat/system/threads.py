"""Determine how many threads this process may use, and run work in threads."""

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
MAX_ANYWHERE: Final = 64  # allowed on every machine, because the detected quota may be wrong
COUNT: Final = (1 << 31) - 1  # the largest count that libraries accept
MAX_BATCH_SIZE: Final = 4096  # of a benchmark; larger batches don't fit into memory


def choose_threads(threads: int | None) -> int:
    """Return the number of threads that was asked for, or the number of usable processors.

    Raises
    ------
    InputError
        `threads` is not a whole number from 1 to four times the number of processors (64 on small
        machines).

    Warns
    -----
    UserWarning
        This process may use fewer processors than `threads`.
    """
    available = available_threads()
    if threads is None:
        return available
    count = validate_threads("threads", threads)
    if count > available:
        warnings.warn(
            f"{count} threads were asked for, but this process may use "
            f"{counted(available, 'processor')}: fewer threads are faster",
            stacklevel=3,
        )
    return count


def validate_threads(name: str, threads: int) -> int:
    """Return a number of threads; raise as `choose_threads` does if it is too large."""
    most = max(MAX_ANYWHERE, MAX_PER_PROCESSOR * (os.cpu_count() or 1))
    count = validate_count(name, threads)
    if count > most:
        raise InputError(
            f"{name} is {count}, expected at most {most}: more threads than processors are slower"
        )
    return count


def validate_count(name: str, value: int, most: int = COUNT) -> int:
    """Return `value` as an int.

    Raises
    ------
    InputError
        `value` is not a whole number from 1 to `most`.
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

    ONNX Runtime and `os.cpu_count` count the processors of the host. In a container with 2 of 64
    processors they would start 64 threads that slow each other down.

    Parameters
    ----------
    cgroup_root, cgroup_of_process
        Where Linux keeps the quota (``cpu.max`` of cgroup v2, ``cpu.cfs_quota_us`` of v1).

    Returns
    -------
    int
        At least 1; a quota of 1.5 processors gives 2.
    """
    quota = cpu_quota(cgroup_root=cgroup_root, cgroup_of_process=cgroup_of_process)
    processors = len(affinity() or ()) or os.cpu_count() or 1
    return processors if quota is None else max(1, min(processors, math.ceil(quota)))


def affinity() -> list[int] | None:
    """Return the processors that this process may run on; None on macOS and Windows."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return None


def cpu_quota(
    *, cgroup_root: Path = CGROUP_ROOT, cgroup_of_process: Path = CGROUP_OF_PROCESS
) -> float | None:
    """Return the smallest CPU quota of the process' control group and the groups above it.

    Returns
    -------
    float or None
        Number of processors; None without a quota.
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
    """Apply `work` to each item in threads, and yield the results in order.

    At most `ahead` items are started and not yet yielded, so `items` may be endless and memory
    stays bounded. Started items continue while the caller uses a result; new items are started
    only when the caller asks for the next result. Closing the iterator cancels items that have not
    started.

    Raises
    ------
    Exception
        An exception of `work` or `items` is raised in place of the result that is missing.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sparsefeat-stage")
    pending: deque[Future[R]] = deque()
    source, failure = iter(items), None
    begun = 0  # since the last result was yielded
    try:
        while True:
            try:
                pending.append(pool.submit(work, next(source)))
            except StopIteration:
                break
            except Exception as exc:  # raised after all earlier results are yielded
                failure = exc
                break
            begun += 1
            # Yield a finished result only after two more items are started, so that the threads
            # have work; but no later, so that a slow source doesn't delay results.
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
    """Run a task on each item in as many threads as there are processors; yield results in order.

    Tasks that wait for a network need more threads: `at_least`. A task must not wait for other
    tasks of `in_threads`.
    """
    return _threads(max(available_threads(), at_least)).map(task, items)


def overlapped(task: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Run a task that waits for a network on each item, `at_once` at a time; results in order.

    If `at_once` is 1, tasks run in the calling thread. Tasks may call `in_threads`.
    """
    if at_once == 1:
        return map(task, items)
    return map_ordered(task, items, threads=at_once, ahead=at_once)


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="sparsefeat-chunks")


if hasattr(os, "register_at_fork"):  # after a fork, the child has no threads and needs new pools
    os.register_at_fork(after_in_child=_threads.cache_clear)
