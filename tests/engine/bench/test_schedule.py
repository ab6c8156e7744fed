import threading
from typing import Any, cast

import pytest

from sparsefeat.bench.engines import ENGINES
from sparsefeat.bench.process import WorkerProcess
from sparsefeat.bench.schedule import MAX_REPEATS, MAX_WARM_BATCHES, Schedule, warm_up


class Recorded:
    """Stands in for a worker, and says how long batches took without taking any time."""

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
        report=lambda done, total, what: told.append((done, total, what)),
        stop=stop or threading.Event(),
    )
    return schedule.run(4), told


def test_warming_up_goes_on_until_times_settle() -> None:
    log: list[str] = []
    settling = (3, 2, 0.4, 0.5, 0.4, 0.4, 0.42)
    assert warm_up(worker("tf-jit", log, *settling, 0.1), 4).warm_up_seconds == settling
    assert len(warm_up(worker("tf-jit", log, 60, 3, 1), 4).warm_up_seconds) == 3


def test_short_batches_are_repeated_and_begin_with_one_untimed() -> None:
    long = warm_up(worker("tf-jit", [], 0.7), 4)
    assert (long.repeats, long.untimed) == (1, 0)
    short = warm_up(worker("tf-jit", [], 0.1), 4)
    assert (short.repeats, short.untimed) == (5, 1)
    assert warm_up(worker("tf-jit", [], 1e-5), 4).repeats == MAX_REPEATS


def test_every_engine_has_one_turn_a_round_and_one_has_two_in_changing_order() -> None:
    log: list[str] = []
    speeds = {"keras-predict": 0.5, "tf-jit": 0.4, "onnxruntime-cpu": 0.3}
    turns, told = run([worker(name, log, seconds) for name, seconds in speeds.items()])
    taken = log[3 * 3 :]  # after three batches each to warm up
    rounds = [taken[index : index + 4] for index in range(0, len(taken), 4)]
    assert len(rounds) == 8
    assert all(sorted(one) == sorted([*speeds, "tf-jit"]) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 3
    assert all(len(turns[name].rounds) == 8 for name in speeds)
    assert {name: len(one.again) for name, one in turns.items()} == {
        "keras-predict": 0,
        "tf-jit": 8,
        "onnxruntime-cpu": 0,
    }
    assert told[-1][:2] == (31, 32)
    again: list[str] = []
    run([worker(name, again, seconds) for name, seconds in speeds.items()])
    assert again == log


def test_the_baseline_asked_for_is_compared_with_itself() -> None:
    workers = [worker(name, [], 0.5) for name in ("tf-jit", "onnxruntime-cpu")]
    turns, _ = run(workers, baseline="onnxruntime-cpu")
    assert (len(turns["tf-jit"].again), len(turns["onnxruntime-cpu"].again)) == (0, 8)


def test_either_turn_may_be_the_first() -> None:
    """Otherwise a machine that slows down would make them differ."""
    numbers = iter(range(1, 10**6))

    class Counting(Recorded):
        def ask(self, **command: Any) -> dict[str, Any]:
            return super().ask(**command) | {"number": next(numbers)}

    workers = [
        cast(WorkerProcess, Counting(name, [], [0.5])) for name in ("tf-jit", "onnxruntime-cpu")
    ]
    turns, _ = run(workers, rounds=40)
    pairs = zip(turns["tf-jit"].rounds, turns["tf-jit"].again, strict=True)
    assert 10 < sum(one["number"] < other["number"] for one, other in pairs) < 30


def test_one_engine_has_one_turn() -> None:
    turns, told = run([worker("onnxruntime-cpu", [], 0.5)])
    assert (len(turns["onnxruntime-cpu"].rounds), len(turns["onnxruntime-cpu"].again)) == (8, 0)
    assert told[-1][:2] == (7, 8)


def test_times_that_never_settle_are_told() -> None:
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


def test_seconds_give_six_rounds_at_least() -> None:
    turns, _ = run([worker("onnxruntime-cpu", [], 0.5)], seconds=1e-9)
    assert len(turns["onnxruntime-cpu"].rounds) == 6
