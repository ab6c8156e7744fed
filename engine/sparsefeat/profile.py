"""Where the time of an extraction goes, stage by stage."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTimes:
    """What one stage did while the run lasted, summed over its threads."""

    stage: str
    threads: int
    busy_seconds: float
    waiting_seconds: float


class Profile:
    """Measures an extraction; give it to `Extractor.extract` or `extract_to_store`.

    Decoding and inference have threads of their own: busy and waiting make up the whole run, for
    each thread. Encoding and writing take turns in the thread that asks for batches, which waits
    for inference only; what else it does (looking up what the store holds) is ``other``.

    Attributes
    ----------
    seconds
        Length of the run.

    Examples
    --------
    >>> profile = Profile()
    >>> with profile.running(), profile.busy("write"):
    ...     pass
    >>> [times.stage for times in profile.stages()]
    ['decode', 'inference', 'encode', 'write', 'other']
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._busy = dict.fromkeys(("decode", "inference", "encode", "write"), 0.0)
        self._decode_threads = 1
        self._starved = 0.0

    def decoding(self, threads: int) -> None:
        """Say how many threads decode."""
        self._decode_threads = threads

    @contextmanager
    def running(self) -> Generator[None, None, None]:
        """Measure the length of the run."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    @contextmanager
    def busy(self, stage: str) -> Generator[None, None, None]:
        """Measure work of ``decode``, ``inference``, ``encode`` or ``write``, in any thread."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._busy[stage] += time.perf_counter() - start

    @contextmanager
    def waiting(self) -> Generator[None, None, None]:
        """Measure how long the thread that encodes waits for inference."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._starved += time.perf_counter() - start

    def stages(self) -> list[StageTimes]:
        """List the stages in the order in which a picture goes through them."""
        decode, inference, encode, write = self._busy.values()
        decoding = self._decode_threads * self.seconds
        other = self.seconds - encode - write - self._starved
        return [
            StageTimes(
                stage="decode",
                threads=self._decode_threads,
                busy_seconds=decode,
                waiting_seconds=decoding - decode,
            ),
            StageTimes(
                stage="inference",
                threads=1,
                busy_seconds=inference,
                waiting_seconds=self.seconds - inference,
            ),
            StageTimes(
                stage="encode", threads=1, busy_seconds=encode, waiting_seconds=self._starved
            ),
            StageTimes(stage="write", threads=1, busy_seconds=write, waiting_seconds=0.0),
            StageTimes(stage="other", threads=1, busy_seconds=other, waiting_seconds=0.0),
        ]
