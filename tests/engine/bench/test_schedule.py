import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from sparsefeat.bench.engines import ENGINES
from sparsefeat.bench.process import WorkerProcess
from sparsefeat.bench.schedule import (
    MAX_REPEATS,
    MAX_WARM_BATCHES,
    Schedule,
    Usage,
    read_usage,
    used_by_others,
    warm_up,
)


class Recorded:
    """Replaces a worker; returns prescribed times of batches without taking any time."""

    def __init__(self, name: str, log: list[str], seconds: list[float]) -> None:
        self.engine = ENGINES[name]
        self._log = log
        self._seconds = seconds

    def ask(self, **command: Any) -> dict[str, Any]:
        assert command["do"] == "time"
        self._log.append(self.engine.name)
        seconds = self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]
        return {"seconds": [seconds] * command["repeats"], "batch_size": command["batch_size"]}


def worker(name: str, log: list[str], *seconds: float) -> WorkerProcess:
    return cast(WorkerProcess, Recorded(name, log, list(seconds)))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsefeat.bench.schedule.PAUSE_SECONDS", 0)


def run(workers: list[WorkerProcess], stop: threading.Event | None = None, **options: Any) -> Any:
    told: list[tuple[int, int, str]] = []
    schedule = Schedule(
        workers,
        [4],
        **({"rounds": 8, "seed": 0} | options),
        progress=lambda done, total, what: told.append((done, total, what)),
        stop=stop or threading.Event(),
    )
    return schedule.run(4), told


def test_warming_up_continues_until_times_settle() -> None:
    log: list[str] = []
    settling = (3, 2, 0.4, 0.5, 0.4, 0.4, 0.42)
    assert warm_up(worker("tf-jit", log, *settling, 0.1), 4).warm_up_seconds == settling
    assert len(warm_up(worker("tf-jit", log, 60, 3, 1), 4).warm_up_seconds) == 3


def test_short_batches_are_repeated_and_the_first_is_not_timed() -> None:
    long = warm_up(worker("tf-jit", [], 0.7), 4)
    assert (long.repeats, long.untimed) == (1, 0)
    short = warm_up(worker("tf-jit", [], 0.1), 4)
    assert (short.repeats, short.untimed) == (5, 1)
    assert warm_up(worker("tf-jit", [], 1e-5), 4).repeats == MAX_REPEATS


def test_every_engine_has_one_turn_per_round_and_one_engine_two() -> None:
    log: list[str] = []
    speeds = {"keras-predict": 0.5, "tf-jit": 0.4, "onnxruntime-cpu": 0.3}
    turns, told = run([worker(name, log, seconds) for name, seconds in speeds.items()])
    taken = log[3 * 3 :]  # after three batches each to warm up
    rounds = [taken[index : index + 4] for index in range(0, len(taken), 4)]
    assert len(rounds) == 8
    assert all(sorted(one) == sorted([*speeds, "tf-jit"]) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 3
    assert all(len(turns[name].rounds) == 8 for name in speeds)
    assert {name: len(one.repeats_timed) for name, one in turns.items()} == {
        "keras-predict": 0,
        "tf-jit": 8,
        "onnxruntime-cpu": 0,
    }
    assert told[-1][:2] == (31, 32)
    repeats_timed: list[str] = []
    run([worker(name, repeats_timed, seconds) for name, seconds in speeds.items()])
    assert repeats_timed == log


def test_a_requested_baseline_has_two_turns() -> None:
    workers = [worker(name, [], 0.5) for name in ("tf-jit", "onnxruntime-cpu")]
    turns, _ = run(workers, baseline="onnxruntime-cpu")
    assert (len(turns["tf-jit"].repeats_timed), len(turns["onnxruntime-cpu"].repeats_timed)) == (
        0,
        8,
    )


def test_either_of_two_turns_may_be_the_first() -> None:
    """Otherwise the turns would differ on a machine that slows down."""
    numbers = iter(range(1, 10**6))

    class Counting(Recorded):
        def ask(self, **command: Any) -> dict[str, Any]:
            return super().ask(**command) | {"number": next(numbers)}

    workers = [
        cast(WorkerProcess, Counting(name, [], [0.5])) for name in ("tf-jit", "onnxruntime-cpu")
    ]
    turns, _ = run(workers, rounds=40)
    pairs = zip(turns["tf-jit"].rounds, turns["tf-jit"].repeats_timed, strict=True)
    assert 10 < sum(one["number"] < other["number"] for one, other in pairs) < 30


def test_a_single_engine_has_one_turn() -> None:
    turns, told = run([worker("onnxruntime-cpu", [], 0.5)])
    assert (len(turns["onnxruntime-cpu"].rounds), len(turns["onnxruntime-cpu"].repeats_timed)) == (
        8,
        0,
    )
    assert told[-1][:2] == (7, 8)


def test_times_that_never_settle_are_reported() -> None:
    restless = warm_up(worker("tf-jit", [], *[0.1, 0.2] * 50), 4)
    assert (len(restless.warm_up_seconds), restless.settled) == (MAX_WARM_BATCHES, False)
    slow = warm_up(worker("tf-jit", [], 9, 7, 5), 4)
    assert (len(slow.warm_up_seconds), slow.settled) == (3, False)
    assert warm_up(worker("tf-jit", [], 0.3), 4).settled


def test_a_round_that_was_not_finished_is_left_out() -> None:
    log: list[str] = []
    stop = threading.Event()

    class Stopping(Recorded):
        def ask(self, **command: Any) -> dict[str, Any]:
            if len(log) == 6 + 10:
                stop.set()
            return super().ask(**command)

    workers = [
        cast(WorkerProcess, Stopping(name, log, [0.5])) for name in ("tf-jit", "onnxruntime-cpu")
    ]
    turns, _ = run(workers, stop)
    assert len(log) == 6 + 11  # three rounds of three turns, and two turns of the fourth
    assert [len(one.rounds) for one in turns.values()] == [3, 3]
    stop.set()
    assert run(workers, stop)[0] == {}


def test_a_limit_of_seconds_still_gives_six_rounds() -> None:
    turns, _ = run([worker("onnxruntime-cpu", [], 0.5)], seconds=1e-9)
    assert len(turns["onnxruntime-cpu"].rounds) == 6


BUSY = "while True: pass"
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone says it")


def usage(at: float, all_seconds: float, own_seconds: float) -> Usage:
    return Usage(at=at, all_seconds=all_seconds, own_seconds=own_seconds)


def test_time_used_by_others_excludes_our_own() -> None:
    before = usage(100, 5000, 70)
    assert used_by_others(before, usage(110, 5018, 85)) == pytest.approx(0.3)
    assert used_by_others(before, usage(110, 5014.9, 85)) == 0  # clocks are coarse
    # In a container whose /proc/stat isn't updated; without /proc; over too short a time.
    assert used_by_others(before, usage(110, 5000, 85)) is None
    assert used_by_others(None, before) is used_by_others(before, None) is None
    assert used_by_others(before, usage(100.01, 5000.01, 70)) is None


@needs_proc
def test_children_and_grandchildren_count_as_our_own() -> None:
    """A child's time counts as our own even after the child has ended."""
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
    for program in (BUSY, nested):
        before = read_usage()
        assert before is not None
        with subprocess.Popen([sys.executable, "-c", program], process_group=0) as child:
            running = wait_for_own(before, 0.5)
            os.killpg(child.pid, signal.SIGKILL)
        assert running.all_seconds >= before.all_seconds + 0.3
        if program == BUSY:
            ended = read_usage()
            assert ended is not None
            assert ended.own_seconds >= running.own_seconds


def wait_for_own(before: Usage, seconds: float) -> Usage:
    while True:
        time.sleep(0.05)
        now = read_usage()
        assert now is not None
        if now.own_seconds - before.own_seconds >= seconds:
            return now


@needs_proc
def test_a_busy_process_of_another_parent_is_found() -> None:
    """A process whose parent has ended isn't one of ours."""
    program = f"""
import subprocess, sys
busy = subprocess.Popen([sys.executable, "-c", {BUSY!r}], stdout=subprocess.DEVNULL)
print(busy.pid)
"""
    started = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    busy = int(started.stdout)
    try:
        ticks = ticks_of(busy)
        before = read_usage()
        while ticks_of(busy) < ticks + os.sysconf("SC_CLK_TCK"):  # it had a second
            time.sleep(0.1)
        after = read_usage()
    finally:
        os.kill(busy, signal.SIGKILL)
    assert before is not None
    assert after is not None
    found = used_by_others(before, after)
    assert found is not None
    assert found * (after.at - before.at) > 0.7


def ticks_of(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@needs_proc
def test_only_processors_that_we_may_use_count(tmp_path: Path) -> None:
    stat = "".join(f"cpu{n} 100 20 30 5000 40 5 6 7 8 9\n" for n in os.sched_getaffinity(0))
    (tmp_path / "stat").write_text(
        f"cpu  900 0 0 0\n{stat}cpu99999 700 0 0 0 0 0 0 0 0 0\nintr 1\n"
    )
    process = tmp_path / str(os.getpid())
    process.mkdir()
    # The name of a program may hold brackets and spaces.
    fields = ["R", "1", *["0"] * 9, "3", "4", "5", "6", "20"]
    (process / "stat").write_text(f"{os.getpid()} (a) b) {' '.join(fields)}")
    found = read_usage(tmp_path)
    assert found is not None
    tick = os.sysconf("SC_CLK_TCK")
    each = 100 + 20 + 30 + 5 + 6 + 7
    assert found.all_seconds * tick == pytest.approx(each * len(os.sched_getaffinity(0)))
    assert found.own_seconds * tick == pytest.approx(3 + 4 + 5 + 6)
    assert read_usage(tmp_path / "none") is None
