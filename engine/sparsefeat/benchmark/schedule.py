"""Who computes when: warming up, then rounds in which every engine has its turn."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsefeat.benchmark.process import WorkerProcess
from sparsefeat.benchmark.ratios import MIN_ROUNDS

Report = Callable[[int, int, str], None]
"""Takes how many turns are done, of how many, and what is being done."""

# A turn is at least so long, so that a batch of one isn't timed alone.
TURN_SECONDS = 0.5
MAX_REPEATS = 100

# ONNX Runtime's threads look for more work for some 50 ms before they sleep, and would take time
# from the next engine.
PAUSE_SECONDS = 0.1

# Warm is who takes for three batches in a row the same time within so much; but on a busy machine
# that may never be.
SETTLED = 0.1
MIN_WARM_BATCHES = 3
MAX_WARM_BATCHES = 30
MAX_WARM_SECONDS = 10.0


@dataclass(kw_only=True)
class Turns:
    """What was measured of one engine at one batch size; `rounds` holds the workers' answers."""

    warm_up_seconds: tuple[float, ...]
    repeats: int
    untimed: int
    rounds: list[dict[str, Any]] = field(default_factory=list)


class Schedule:
    """Lets engines take turns, one computing at a time.

    Parameters
    ----------
    workers
        The engines.
    batch_sizes
        Each is measured for itself, one after the other.
    rounds
        Turns of every engine at each batch size; or else
    seconds
        how long to go on with it in all, with at least six rounds each.
    seed
        Of the order within each round, which is drawn anew.
    report
        Called before every turn.
    stop
        Set to end after the turn in hand.
    """

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        batch_sizes: Sequence[int],
        *,
        rounds: int,
        seconds: float | None = None,
        seed: int,
        report: Report,
        stop: threading.Event,
    ) -> None:
        self._workers = workers
        self._batch_sizes = batch_sizes
        self._rounds = rounds
        self._seconds = None if seconds is None else seconds / len(batch_sizes)
        self._rng = np.random.default_rng(seed)
        self._report = report
        self._stop = stop
        self._done = 0

    def run(self, batch_size: int) -> dict[str, Turns]:
        """Warm all engines up at one batch size and measure them, by name.

        A round that was not finished because of `stop` is left out.
        """
        turns = {}
        for worker in self._workers:
            if self._stop.is_set():
                return {}
            self._tell(f"batches of {batch_size}: warming up {worker.engine.name}")
            turns[worker.engine.name] = warm_up(worker, batch_size)
        begun = time.monotonic()
        number = 0
        while not self._enough(number, time.monotonic() - begun):
            answers = self._round(batch_size, turns)
            if answers is None:
                break
            for name, answer in answers.items():
                turns[name].rounds.append(answer)
            number += 1
            if self._seconds is not None:
                share = self._seconds / (time.monotonic() - begun)
                self._rounds = max(MIN_ROUNDS, round(number * share))
        return turns

    def _round(self, batch_size: int, turns: dict[str, Turns]) -> dict[str, dict[str, Any]] | None:
        answers = {}
        for index in self._rng.permutation(len(self._workers)):
            if self._stop.is_set():
                return None
            worker = self._workers[index]
            mine = turns[worker.engine.name]
            self._tell(f"batches of {batch_size}: {worker.engine.name}")
            self._stop.wait(PAUSE_SECONDS)
            answers[worker.engine.name] = worker.ask(
                do="time", batch_size=batch_size, repeats=mine.repeats, untimed=mine.untimed
            )
            self._done += 1
        return answers

    def _enough(self, n_rounds: int, elapsed: float) -> bool:
        if self._stop.is_set():
            return True
        if self._seconds is None:
            return n_rounds >= self._rounds  # which is a guess where seconds count
        if n_rounds >= MIN_ROUNDS:
            # Rather one round less than half a round too long.
            return elapsed * (n_rounds + 0.5) / n_rounds > self._seconds
        return False

    def _tell(self, what: str) -> None:
        total = self._rounds * len(self._workers) * len(self._batch_sizes)
        self._report(self._done, max(total, self._done), what)


def warm_up(worker: WorkerProcess, batch_size: int) -> Turns:
    """Run batches until their times have settled; then say how many of them make a turn."""
    seconds: list[float] = []
    while len(seconds) < MIN_WARM_BATCHES or not (
        _settled(seconds[-MIN_WARM_BATCHES:])
        or len(seconds) >= MAX_WARM_BATCHES
        or sum(seconds) > MAX_WARM_SECONDS
    ):
        answer = worker.ask(do="time", batch_size=batch_size, repeats=1, untimed=0)
        seconds += answer["seconds"]
    usual = min(seconds)
    repeats = min(MAX_REPEATS, max(1, math.ceil(TURN_SECONDS / usual)))
    return Turns(
        warm_up_seconds=tuple(seconds),
        repeats=repeats,
        # What cold caches cost at the start doesn't show in a long batch.
        untimed=1 if usual < TURN_SECONDS else 0,
    )


def _settled(seconds: Sequence[float]) -> bool:
    return max(seconds) <= (1 + SETTLED) * min(seconds)
