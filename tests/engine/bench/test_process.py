import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sparsefeat.bench.engines import Engine
from sparsefeat.bench.process import WorkerProcess
from sparsefeat.errors import BenchmarkError, MissingDependencyError, ProviderError

IMAGES = np.arange(-384, 384, dtype=np.float32).reshape(4, 8, 8, 3)


@pytest.fixture(autouse=True)
def _reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


def worker(folder: Path, **options: Any) -> closing[WorkerProcess]:
    np.save(folder / "images.npy", IMAGES)
    engine = Engine(
        name="fake",
        label="a fake",
        framework="tensorflow",
        precision="fp32",
        loader="",
        build="fake:FakeEngine",
    )
    work = {"images": str(folder / "images.npy")}
    return closing(WorkerProcess(engine, options=options, work=work, folder=folder))


def test_a_worker_reports_facts_outputs_and_times(tmp_path: Path) -> None:
    with worker(tmp_path, sleep=0.01) as one:
        assert one.facts["device"] == "cpu"
        answer = one.ask(do="answer", batch_size=3, rows=[0, 2], folder=str(tmp_path))
        assert answer == {"layers": ["twice"]}
        assert np.array_equal(np.load(tmp_path / "0.npy"), 2 * IMAGES[[0, 2]])
        timed = one.ask(do="time", batch_size=2, repeats=3, untimed=1)
        assert len(timed["seconds"]) == 3
        assert min(timed["seconds"]) >= 0.01
        assert timed["waited_seconds"] == 0
        time.sleep(0.05)
        timed = one.ask(do="time", batch_size=1, repeats=1, untimed=0)
        assert timed["waited_seconds"] >= 0.05
        assert timed["waited_cpu_seconds"] < timed["waited_seconds"]


@pytest.mark.parametrize(
    ("behave", "error", "says"),
    [
        (
            "missing",
            MissingDependencyError,
            "^no_such_package is not installed",
        ),
        ("refuse", ProviderError, "^can't be had here$"),
        ("die", BenchmarkError, "fake: its process was killed, most likely .*memory"),
        ("exit", BenchmarkError, "fake: its process ended with status 3: a library's chatter"),
        ("fail", BenchmarkError, r"fake failed \(RuntimeError: out of luck\)"),
    ],
)
def test_failures_of_a_worker_are_one_line(
    tmp_path: Path, behave: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught, worker(tmp_path, behave=behave) as one:
        one.ask(do="time", batch_size=1, repeats=1, untimed=0)
    assert "\n" not in str(caught.value)
    children = [child.cmdline() for child in psutil.Process().children()]
    assert not [line for line in children if "sparsefeat.bench.worker" in line]


def test_a_worker_is_ended_even_if_it_computes(tmp_path: Path) -> None:
    with worker(tmp_path) as one:
        pid = one.facts["pid"]
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


def test_a_worker_times_passes_through_files(tmp_path: Path) -> None:
    """And returns the requested rows, from whichever batch."""
    files = [f"{value}.jpg" for value in range(6)]
    engine = Engine(
        name="fake",
        label="a fake",
        framework="tensorflow",
        precision="fp32",
        loader="",
        build="fake:FakeEngine",
    )
    work = {"files": {"2": files, "3": files[:3]}, "size": [1, 2]}
    process = WorkerProcess(engine, options={"sleep": 0.01}, work=work, folder=tmp_path)
    with closing(process) as one:
        answer = one.ask(do="answer", batch_size=2, rows=[0, 3, 4], folder=str(tmp_path))
        assert answer == {"layers": ["value"]}
        assert np.load(tmp_path / "0.npy")[:, 0, 0].tolist() == [0, 3, 4]
        timed = one.ask(do="time", batch_size=2, repeats=2, untimed=1)
        assert len(timed["seconds"]) == 2
        assert min(timed["seconds"]) >= 0.03  # three batches
        one.ask(do="answer", batch_size=3, rows=[2], folder=str(tmp_path))
        assert np.load(tmp_path / "0.npy").tolist() == [[[2, 2]]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_process_that_an_engine_forks_starts_and_ends_with_it(tmp_path: Path) -> None:
    """Loaders fork with `multiprocessing`, which closes standard input in the new process."""
    with worker(tmp_path, behave="fork") as one:
        one.ask(do="time", batch_size=1, repeats=1, untimed=0)
        (child,) = psutil.Process(one.facts["pid"]).children()
    child.wait(60)
    assert not child.is_running()


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """Even while it computes, and if the parent is killed."""
    program = f"""
from pathlib import Path
import numpy as np
from sparsefeat.bench.engines import Engine
from sparsefeat.bench.process import WorkerProcess
folder = Path({str(tmp_path)!r})
np.save(folder / "images.npy", np.zeros((1, 8, 8, 3), np.float32))
engine = Engine(name="fake", label="", framework="tensorflow", precision="fp32", loader="",
                build="fake:FakeEngine")
work = {{"images": str(folder / "images.npy")}}
one = WorkerProcess(engine, options={{"sleep": 600}}, work=work, folder=folder)
print(one.facts["pid"], flush=True)
one.ask(do="time", batch_size=1, repeats=1, untimed=0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        child.wait(60)
    assert not child.is_running()
