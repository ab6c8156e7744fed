"""Where the time of an extraction goes, stage by stage."""

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTimes:
    """What one stage did while the run lasted, summed over its threads."""

    stage: str
    threads: int
    busy_seconds: float
    waiting_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Where the time of an extraction went.

    Decoding and inference have threads of their own: busy and waiting make up the whole run, for
    each thread. One more thread finds the next images (``list``: what the store holds already is
    passed over), compresses and writes, and waits for inference in between (``write``); whatever
    else it does is ``other``.

    Attributes
    ----------
    seconds
        Length of the run.
    stages
        In the order in which an image goes through them.
    """

    seconds: float
    stages: tuple[StageTimes, ...]


class Stopwatch:
    """Measures the stages of one run, each in its threads.

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
        """Measure work of a stage, in any thread."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._busy[stage] += time.perf_counter() - start

    def listing(self, images: Iterable[T]) -> Generator[T, None, None]:
        """Measure how long `images` take to come."""
        source = iter(images)
        while True:
            with self.busy("list"):
                try:
                    image = next(source)
                except StopIteration:
                    return
            yield image

    def profile(self, *, decode_threads: int) -> Profile:
        """Say where the time went until now."""
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
