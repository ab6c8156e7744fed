"""Measure where the time of an extraction goes, stage by stage."""

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTimes:
    """How long the threads of one stage worked and waited during a run, summed over threads."""

    stage: str
    threads: int
    busy_seconds: float
    waiting_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Where the time of an extraction went.

    ``decode`` and ``inference`` have their own threads; busy and waiting time add up to the length
    of the run for each thread. One more thread does the rest: it finds the next images and skips
    those that the store has (``list``), compresses and writes (``write``, whose waiting time is
    that for inference), and everything else (``other``).

    Attributes
    ----------
    seconds
        Length of the run.
    stages
        In the order in which an image passes through them.
    """

    seconds: float
    stages: tuple[StageTimes, ...]


class Stopwatch:
    """Measures the time that each stage of a run takes, in any number of threads.

    Examples
    --------
    >>> stopwatch = Stopwatch()
    >>> with stopwatch.busy("write"):
    ...     pass
    >>> [times.stage for times in stopwatch.profile(decode_threads=2).stages]
    ['list', 'decode', 'inference', 'write', 'other']
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._lock = threading.Lock()
        self._busy = dict.fromkeys(("list", "decode", "inference", "write", "next batch"), 0.0)

    @contextmanager
    def busy(self, stage: str) -> Generator[None, None, None]:
        """Measure the time inside this context as work of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._busy[stage] += time.perf_counter() - start

    def listing(self, images: Iterable[T]) -> Generator[T, None, None]:
        """Yield `images`, measuring how long the iterator takes."""
        source = iter(images)
        while True:
            with self.busy("list"):
                try:
                    image = next(source)
                except StopIteration:
                    return
            yield image

    def profile(self, *, decode_threads: int) -> Profile:
        """Return the profile of the run so far."""
        run = time.perf_counter() - self._start
        listing, decoding, inference, writing, next_batch = self._busy.values()
        stages = (
            ("list", 1, listing, 0.0),
            ("decode", decode_threads, decoding, decode_threads * run - decoding),
            ("inference", 1, inference, run - inference),
            ("write", 1, writing, next_batch - listing),
            ("other", 1, run - next_batch - writing, 0.0),
        )
        times = (
            StageTimes(stage=s, threads=n, busy_seconds=b, waiting_seconds=w)
            for s, n, b, w in stages
        )
        return Profile(seconds=run, stages=tuple(times))
