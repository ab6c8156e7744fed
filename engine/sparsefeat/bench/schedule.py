"""Who computes when: warming up, then rounds of a turn for every engine, and two for one.

Meanwhile it is watched how much of the processors other programs have.
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

PROC = Path("/proc")

# The columns of /proc/stat that count time in which a processor did nothing; those behind `steal`
# are in `user` and `nice` already (proc_stat(5)).
IDLE = (3, 4)
COUNTED = 8

# A processor's clock counts in hundredths of a second: shorter spans say nothing.
MIN_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Processor time that was used since the system started, in seconds.

    `all_seconds` is that of the processors that this process may run on, with what a virtual
    machine's host took of them; `own_seconds` that of this process and of all that it started.
    """

    at: float
    all_seconds: float
    own_seconds: float


def read_usage(proc: Path = PROC) -> Usage | None:
    """Read how much processor time was used; None where the system doesn't say (not Linux)."""
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0
    counted = _all_ticks(proc / "stat")
    if counted is None or not tick:
        return None
    return Usage(
        at=time.monotonic(), all_seconds=counted / tick, own_seconds=_own_ticks(proc) / tick
    )


def used_by_others(before: Usage | None, after: Usage | None) -> float | None:
    """Say how many processors other programs used in between, on average.

    Returns
    -------
    float or None
        0.5 is half a processor. None where the system doesn't say, or counts for less than this
        process and its children used: some containers' files do.
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
    """Sum up this process and all below it, those included that have ended and were waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            # The name of the program, in brackets, may hold anything.
            fields = read_text(folder / "stat").rpartition(")")[2].split()
            if fields:  # else it has ended meanwhile
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
    """What was measured of one engine at one batch size.

    `rounds` holds the worker's answers, and how many processors `others` used meanwhile;
    `repeats_timed` the same of the second turns that the engine had, if any. `settled` says
    whether the times became steady while it was warmed up.
    """

    warm_up_seconds: tuple[float, ...]
    settled: bool
    repeats: int
    untimed: int
    rounds: list[dict[str, Any]] = field(default_factory=list)
    repeats_timed: list[dict[str, Any]] = field(default_factory=list)


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
    baseline
        Which engine has a second turn in each round, to be compared with itself, as two engines
        are compared; by default the one of TensorFlow's that was fastest when it was warm. With
        one engine alone there is nothing to compare, and no second turn.
    seed
        Of the order within each round, which is drawn anew.
    progress
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
        """Warm all engines up at one batch size and measure them, by name.

        A round that was not finished because of `stop` is left out.
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
        """Say who has a turn in each round: all, and one of them again."""
        if len(self._workers) == 1:
            return [*self._workers]
        speeds = {name: 1 / min(one.warm_up_seconds) for name, one in turns.items()}
        twice = choose_baseline(speeds, self._baseline)
        return [*self._workers, *(one for one in self._workers if one.engine.name == twice)]

    def _round(
        self, batch_size: int, turns: dict[str, Turns], slots: Sequence[WorkerProcess]
    ) -> list[dict[str, Any]] | None:
        """Give the answers in the order of `slots`, whatever the order of the turns."""
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
            return n_rounds >= self._rounds  # which is a guess where seconds count
        if n_rounds >= MIN_ROUNDS:
            # Rather one round less than half a round too long.
            return elapsed * (n_rounds + 0.5) / n_rounds > self._seconds
        return False

    def _tell(self, what: str) -> None:
        total = self._rounds * self._per_round * len(self._batch_sizes)
        self._progress(self._done, max(total, self._done), what)


def n_turns(n_engines: int) -> int:
    """Say how many turns a round has."""
    return n_engines + (n_engines > 1)


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
        settled=_settled(seconds[-MIN_WARM_BATCHES:]),
        repeats=repeats,
        # What cold caches cost at the start doesn't show in a long batch.
        untimed=1 if usual < TURN_SECONDS else 0,
    )


def _settled(seconds: Sequence[float]) -> bool:
    return max(seconds) <= (1 + SETTLED) * min(seconds)
