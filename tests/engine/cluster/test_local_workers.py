"""Worker processes on this machine, which here call `eval` with code of the tests."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sparsefeat.cluster import Finished, LocalWorkers
from sparsefeat.errors import DependencyError, InputError
from sparsefeat.system import available_threads, start_python

Workers = LocalWorkers[str, object]
PID = "__import__('os').getpid()"
SLEEP = "__import__('time').sleep(600)"


def run(workers: Workers, *expressions: str) -> list[Finished[str, object]]:
    for expression in expressions:
        workers.submit(expression)
    ended: list[Finished[str, object]] = []
    while workers.n_running:
        ended += workers.finished(60)
    return ended


def test_calls_run_in_processes_that_are_reused() -> None:
    with Workers(eval, threads=1) as workers:
        assert workers.capacity == available_threads()
        ended = run(workers, *[PID] * 2 * workers.capacity)
        again = run(workers, *[PID] * 2 * workers.capacity)
    processes = {each.result for each in ended}
    assert len(ended) == len(again) == 2 * workers.capacity
    assert len(processes) == workers.capacity  # they take turns
    assert {each.result for each in again} == processes
    assert os.getpid() not in processes
    assert all(each.argument == PID and not each.death for each in ended)


def test_one_process_has_all_processors_by_default() -> None:
    with Workers(eval) as workers:
        assert (workers.threads, workers.capacity) == (available_threads(), 1)
    with Workers(eval, threads=1, gpu=True) as workers:
        assert (workers.threads, workers.capacity) == (1, 1)


@pytest.mark.parametrize(
    ("end", "says", "blameless"),
    [
        ("__import__('signal').raise_signal(15)", "its process was ended by SIGTERM", False),
        ("__import__('signal').raise_signal(9)", "its process was killed, most likely", True),
        ("__import__('os')._exit(3)", "its process ended with status 3", False),
        ("exit(4)", "its process ended with status 4", False),
    ],
)
def test_a_process_that_dies_is_replaced(end: str, says: str, blameless: bool) -> None:
    with Workers(eval) as workers:
        (before,), (dead,), (after,) = (run(workers, each) for each in (PID, end, PID))
    assert (dead.argument, dead.result) == (end, None)
    assert dead.death.startswith(says)
    assert dead.blameless == blameless  # by a system that runs out of memory
    assert isinstance(after.result, int)
    assert after.result != before.result


def test_an_idle_process_that_was_killed_is_replaced() -> None:
    with Workers(eval) as workers:
        (before,) = run(workers, PID)
        assert isinstance(before.result, int)
        os.kill(before.result, signal.SIGKILL)
        (lost,), (after,) = run(workers, PID), run(workers, PID)
    assert lost.death.startswith("its process was killed")
    assert isinstance(after.result, int)
    assert after.result != before.result


def test_an_exception_is_raised_after_results_that_are_ready() -> None:
    refused = "(_ for _ in ()).throw(__import__('sparsefeat').InputError('no such thing'))"
    with Workers(eval) as workers:
        for expression in ("1", refused):
            workers.submit(expression)
        assert [each.result for each in workers.finished(60)] == [1]
        for _ in range(2):
            with pytest.raises(InputError, match="no such thing") as raised:
                workers.finished(60)
    assert 'File "<string>", line 1' in "".join(raised.value.__notes__)  # where it was raised


def test_an_exception_that_cannot_be_sent_is_described() -> None:
    odd = "(_ for _ in ()).throw(type('Odd', (Exception,), {})('the matter'))"
    with Workers(eval) as workers, pytest.raises(RuntimeError, match="Odd: the matter"):
        run(workers, odd)


def test_a_result_that_cannot_be_sent_is_an_error() -> None:
    with Workers(eval) as workers, pytest.raises(Exception, match="lambda"):
        run(workers, "lambda: 1")


def test_a_package_that_does_not_load_in_a_worker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('compiled for another processor')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with Workers(eval) as workers, pytest.raises(DependencyError, match="broken is installed at "):
        run(workers, "__import__('broken')")


def test_output_of_a_call_does_not_disturb_its_result(capfd: pytest.CaptureFixture[str]) -> None:
    with Workers(eval) as workers:
        (ended,) = run(workers, "print('noise', flush=True) or 3")
    assert ended.result == 3
    assert capfd.readouterr() == ("", "noise\n")


def test_large_arguments_and_results_are_sent() -> None:
    with Workers(eval) as workers:
        (ended,) = run(workers, f"{'x' * (4 << 20)!r} * 2")
    assert ended.result == "x" * (8 << 20)


def test_leaving_the_block_ends_running_calls(caplog: pytest.LogCaptureFixture) -> None:
    with Workers(eval, threads=1) as workers:
        processes = {each.result for each in run(workers, *[PID] * workers.capacity)}
        assert len(processes) == workers.capacity
        for _ in range(2 * workers.capacity):
            workers.submit(SLEEP)
        assert workers.finished(0.2) == []
    for process in processes:
        assert isinstance(process, int)
        assert not psutil.pid_exists(process)
    assert not caplog.records  # the lost calls are not reported


def test_workers_end_with_the_process_that_started_them() -> None:
    program = f"""
from sparsefeat.cluster import LocalWorkers
workers = LocalWorkers(eval)
workers.submit({PID!r})
print(workers.finished(60)[0].result, flush=True)
workers.submit({SLEEP!r})
workers.finished(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        worker = psutil.Process(int(running.stdout.readline()))
        running.kill()
    _, alive = psutil.wait_procs([worker], timeout=60)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_a_worker_ends_when_its_input_breaks_off() -> None:
    code = "from sparsefeat.cluster.local_workers import serve; serve()"
    with start_python("-c", code) as worker:
        assert worker.stdin is not None
        worker.stdin.write(pickle.dumps(pickle.dumps((eval, "1")))[:-3])
        worker.stdin.close()
        assert worker.wait(60) == 0
