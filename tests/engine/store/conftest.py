"""Writers in other processes, which can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).parents[3]
Process = subprocess.Popen[str]


def start_racer(location: Path | str, count: int, seed: int) -> Process:
    """Start a writer that competes with others in a folder or at a URL; see racer.py."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.engine.store.racer", str(location), str(count), str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def racers() -> Iterator[list[Process]]:
    """Writers in other processes, which are ended after the test in any case."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


class WriterProcess:
    """Starts one writer at a time in another process; see killable.py."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self._requests, self._answers = requests, answers
        self.pid = 0
        self._seen: list[dict[str, Any]] = []

    def start(self, command: str, **arguments: Any) -> None:
        """Start a writer."""
        self._seen = []
        self._request(json.dumps({"command": command, **arguments}))
        self.pid = self.answer("pid")

    def answer(self, key: str) -> Any:
        """Wait for an answer of that kind."""
        for seen in self._seen:
            if key in seen:
                return seen[key]
        while True:
            line = self._answers.readline()
            assert line, "the writer has ended"
            self._seen.append(json.loads(line))
            if key in self._seen[-1]:
                return self._seen[-1][key]

    def has_ended(self) -> bool:
        """Tell whether the writer has ended."""
        return (Path("/proc") / str(self.pid) / "stat").read_text().rsplit(")", 1)[1][1] == "Z"

    def kill(self, after: float = 0.0) -> bool:
        """Send SIGKILL to the writer after some seconds; tell whether it was still running."""
        time.sleep(after)
        os.kill(self.pid, signal.SIGKILL)
        return os.WIFSIGNALED(self._status())

    def interrupt(self, after: float) -> bool:
        """Send SIGINT to the writer after some seconds; tell whether that stopped it."""
        time.sleep(after)
        os.kill(self.pid, signal.SIGINT)
        return self._status() != 0

    def was_killed(self) -> bool:
        """Wait for the writer; tell whether a signal ended it."""
        return os.WIFSIGNALED(self._status())

    def finish(self) -> str | None:
        """Wait for the writer; return the name of its error, if it had one."""
        error: str | None = self.answer("error")
        assert self._status() == 0
        return error

    def _status(self) -> int:
        self._request("")
        status: int = self.answer("status")
        return status

    def _request(self, line: str) -> None:
        self._requests.write(line + "\n")
        self._requests.flush()


@pytest.fixture
def without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncing, for tests that aren't about power failures."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def writer_process() -> Iterator[WriterProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.store.killable"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield WriterProcess(process.stdin, process.stdout)


@pytest.fixture
def race_seconds(pytestconfig: pytest.Config) -> float:
    """The option ``--race-seconds``: for how long writers compete."""
    return float(pytestconfig.getoption("--race-seconds"))
