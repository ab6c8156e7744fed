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


class Profile:
    """Measures an extraction; give it to `Extractor.extract` or `sparsefeat.extract`.

    Decoding and inference have threads of their own: busy and waiting make up the whole run, for
    each thread. One more thread finds the next images (``list``: what the store holds already is
    passed over), compresses (``encode``; in an extraction to a store that is part of ``write``),
    writes, and waits for inference in between; whatever else it does is ``other``.

    Attributes
    ----------
    seconds
        Length of the run.
    decode_threads
        How many threads decode.

    Examples
    --------
    >>> profile = Profile()
    >>> with profile.running(), profile.busy("write"):
    ...     pass
    >>> [times.stage for times in profile.stages()]
    ['list', 'decode', 'inference', 'write', 'other']
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.decode_threads = 1
        self._lock = threading.Lock()
        self._busy = dict.fromkeys(("list", "decode", "inference", "encode", "write"), 0.0)
        self._next_batch = 0.0
        self._running = False

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Measure the length of the run; inside a run that is measured already, nothing."""
        if self._running:
            yield
            return
        self._running, start = True, time.perf_counter()
        try:
            yield
        finally:
            self._running = False
            self.seconds += time.perf_counter() - start

    @contextmanager
    def busy(self, stage: str) -> Generator[None, None, None]:
        """Measure work of a stage, in any thread."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._busy[stage] += time.perf_counter() - start

    @contextmanager
    def next_batch(self) -> Generator[None, None, None]:
        """Measure how long the next batch takes to come, the list of pictures included."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._next_batch += time.perf_counter() - start

    def listing(self, pictures: Iterable[T]) -> Generator[T, None, None]:
        """Measure how long `pictures` take to come."""
        source = iter(pictures)
        while True:
            with self.busy("list"):
                try:
                    picture = next(source)
                except StopIteration:
                    return
            yield picture

    def stages(self) -> list[StageTimes]:
        """List the stages in the order in which a picture goes through them."""
        busy, run = self._busy, self.seconds
        waiting = {
            "list": 0.0,
            "decode": self.decode_threads * run - busy["decode"],
            "inference": run - busy["inference"],
            "encode": self._next_batch - busy["list"],
            "write": 0.0,
        }
        if not busy["encode"]:  # the store compresses what it writes
            waiting["write"] = waiting.pop("encode")
        times = [
            StageTimes(
                stage=stage,
                threads=self.decode_threads if stage == "decode" else 1,
                busy_seconds=seconds,
                waiting_seconds=waiting[stage],
            )
            for stage, seconds in busy.items()
            if stage in waiting
        ]
        other = run - self._next_batch - busy["encode"] - busy["write"]
        return [
            *times,
            StageTimes(stage="other", threads=1, busy_seconds=other, waiting_seconds=0.0),
        ]
