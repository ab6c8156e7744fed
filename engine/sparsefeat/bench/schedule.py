"""Schedules engines: warm-up, then rounds in which each engine has a turn, and one has two.

It also measures how much processor time other programs use during each turn.
"""

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparsefeat.bench.engines import choose_baseline
from sparsefeat.bench.process import WorkerProcess
from sparsefeat.bench.ratios import MIN_ROUNDS
from sparsefeat.system import affinity, read_text

Progress = Callable[[int, int, str], None]
"""Called with the number of turns done, their total, and the current work."""

# A turn lasts at least this long, so that a batch of one image isn't timed alone.
TURN_SECONDS = 0.5
MAX_REPEATS = 100

# ONNX Runtime's threads spin for about 50 ms before they sleep, which would slow the next engine.
PAUSE_SECONDS = 0.1

# An engine is warm when three batches in a row take the same time within this share; on a busy
# machine that may never happen, so the warm-up is limited.
SETTLED = 0.1
MIN_WARM_BATCHES = 3
MAX_WARM_BATCHES = 30
MAX_WARM_SECONDS = 10.0

PROC = Path("/proc")

# Columns of /proc/stat that count idle time. Columns after `steal` are part of `user` and `nice`
# (proc_stat(5)).
IDLE = (3, 4)
COUNTED = 8

# /proc/stat counts in hundredths of a second, too coarse for shorter spans.
MIN_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Processor time used since the system started, in seconds.

    `all_seconds` counts all programs on the processors that this process may use, and the time
    that a virtual machine's host took from them; `own_seconds` counts this process and its
    descendants. `at` is the time of reading, from `time.monotonic`.
    """

    at: float
    all_seconds: float
    own_seconds: float


def read_usage(proc: Path = PROC) -> Usage | None:
    """Read how much processor time was used; None if the system doesn't report it (not Linux)."""
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0
    counted = _all_ticks(proc / "stat")
    if counted is None or not tick:
        return None
    return Usage(
        at=time.monotonic(), all_seconds=counted / tick, own_seconds=_own_ticks(proc) / tick
    )


def used_by_others(before: Usage | None, after: Usage | None) -> float | None:
    """Return how many processors other programs used between two readings, on average.

    Returns
    -------
    float or None
        0.5 is half a processor. None if the system doesn't report it, or reports less than this
        process and its children used, as in some containers.
    """
    if before is None or after is None or after.at - before.at < MIN_SECONDS:
        return None
    own = after.own_seconds - before.own_seconds
    others = after.all_seconds - before.all_seconds - own
    if others < -0.1 * own - MIN_SECONDS:
        return None
    return max(0.0, others / (after.at - before.at))


def _all_ticks(stat: Path) -> int | None:
    mine = affinity()
    wanted = None if mine is None else {f"cpu{number}" for number in mine}
    total = None
    for line in read_text(stat).splitlines():
        name, *columns = line.split()
        if name.startswith("cpu") and name != "cpu" and (wanted is None or name in wanted):
            busy = (int(one) for n, one in enumerate(columns[:COUNTED]) if n not in IDLE)
            total = (total or 0) + sum(busy)
    return total


def _own_ticks(proc: Path) -> int:
    """Sum the ticks of this process and its descendants, including those that have ended."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            # The program's name, in brackets, may contain spaces and brackets.
            fields = read_text(folder / "stat").rpartition(")")[2].split()
            if fields:  # otherwise the process has just ended
                process = int(folder.name)
                parents[process] = int(fields[1])
                ticks[process] = sum(map(int, fields[11:15]))
    return sum(used for process, used in ticks.items() if _is_below(process, os.getpid(), parents))


def _is_below(process: int, top: int, parents: dict[int, int]) -> bool:
    while process not in (0, top):
        process = parents.get(process, 0)
    return process == top


@dataclass(kw_only=True)
class Turns:
    """The measurements of one engine at one batch size.

    `rounds` holds the worker's answer of each turn, with the number of processors that `others`
    used meanwhile; `repeats_timed` those of the second turns, if the engine had any. `settled` says
    whether the times became steady during the warm-up. A turn has `untimed` runs, then `repeats`
    timed ones.
    """

    warm_up_seconds: tuple[float, ...]
    settled: bool
    repeats: int
    untimed: int
    rounds: list[dict[str, Any]] = field(default_factory=list)
    repeats_timed: list[dict[str, Any]] = field(default_factory=list)


class Schedule:
    """Lets engines take turns, so that one computes at a time.

    Parameters
    ----------
    workers
        The engines.
    batch_sizes
        The batch sizes to measure, one after the other.
    rounds
        Turns of each engine at each batch size.
    seconds
        Total time to measure, instead of `rounds`; each engine has at least six rounds.
    baseline
        The engine that has a second turn in each round, to be compared with itself; by default
        the engine of TensorFlow that was fastest when warm. A single engine has no second turn.
    seed
        Seed of the order within each round.
    progress
        Called before every turn.
    stop
        Set it to stop after the current turn.
    """

    def __init__(
        self,
        workers: Sequence[WorkerProcess],
        batch_sizes: Sequence[int],
        *,
        rounds: int,
        seconds: float | None = None,
        baseline: str | None = None,
        seed: int,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self._workers = workers
        self._batch_sizes = batch_sizes
        self._rounds = rounds
        self._seconds = None if seconds is None else seconds / len(batch_sizes)
        self._baseline = baseline
        self._per_round = n_turns(len(workers))
        self._rng = np.random.default_rng(seed)
        self._progress = progress
        self._stop = stop
        self._done = 0

    def run(self, batch_size: int) -> dict[str, Turns]:
        """Warm up and measure all engines at one batch size; return their `Turns` by name.

        A round that `stop` interrupts is left out.
        """
        turns = {}
        for worker in self._workers:
            if self._stop.is_set():
                return {}
            self._tell(f"batches of {batch_size}: warming up {worker.engine.name}")
            turns[worker.engine.name] = warm_up(worker, batch_size)
        slots = self._slots(turns)
        begun = time.monotonic()
        number = 0
        while not self._enough(number, time.monotonic() - begun):
            answers = self._round(batch_size, turns, slots)
            if answers is None:
                break
            for index, (worker, answer) in enumerate(zip(slots, answers, strict=True)):
                mine = turns[worker.engine.name]
                (mine.rounds if index < len(self._workers) else mine.repeats_timed).append(answer)
            number += 1
            if self._seconds is not None:
                share = self._seconds / (time.monotonic() - begun)
                self._rounds = max(MIN_ROUNDS, round(number * share))
        return turns

    def _slots(self, turns: dict[str, Turns]) -> list[WorkerProcess]:
        """Return the turns of a round: one for each engine, and a second one for one of them."""
        if len(self._workers) == 1:
            return [*self._workers]
        speeds = {name: 1 / min(one.warm_up_seconds) for name, one in turns.items()}
        twice = choose_baseline(speeds, self._baseline)
        return [*self._workers, *(one for one in self._workers if one.engine.name == twice)]

    def _round(
        self, batch_size: int, turns: dict[str, Turns], slots: Sequence[WorkerProcess]
    ) -> list[dict[str, Any]] | None:
        """Run the turns of a round in random order; return the answers in the order of `slots`."""
        answers: dict[int, dict[str, Any]] = {}
        for index in self._rng.permutation(len(slots)):
            if self._stop.is_set():
                return None
            worker = slots[index]
            mine = turns[worker.engine.name]
            self._tell(f"batches of {batch_size}: {worker.engine.name}")
            self._stop.wait(PAUSE_SECONDS)
            before = read_usage()
            answer = worker.ask(
                do="time", batch_size=batch_size, repeats=mine.repeats, untimed=mine.untimed
            )
            answers[index] = answer | {"others": used_by_others(before, read_usage())}
            self._done += 1
        return [answers[index] for index in range(len(slots))]

    def _enough(self, n_rounds: int, elapsed: float) -> bool:
        if self._stop.is_set():
            return True
        if self._seconds is None:
            return n_rounds >= self._rounds
        if n_rounds >= MIN_ROUNDS:
            # Stop if another round would end more than half a round after the time.
            return elapsed * (n_rounds + 0.5) / n_rounds > self._seconds
        return False

    def _tell(self, what: str) -> None:
        total = self._rounds * self._per_round * len(self._batch_sizes)
        self._progress(self._done, max(total, self._done), what)


def n_turns(n_engines: int) -> int:
    """Return the number of turns in a round."""
    return n_engines + (n_engines > 1)


def warm_up(worker: WorkerProcess, batch_size: int) -> Turns:
    """Run batches until their times are steady, and choose how many batches make a turn."""
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
        settled=_settled(seconds[-MIN_WARM_BATCHES:]),
        repeats=repeats,
        # A first, untimed run fills the caches; for long batches their cost is negligible.
        untimed=1 if usual < TURN_SECONDS else 0,
    )


def _settled(seconds: Sequence[float]) -> bool:
    return max(seconds) <= (1 + SETTLED) * min(seconds)
