"""Starts a worker process, sends it commands, and ends it."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparsefeat import errors
from sparsefeat.bench.engines import Engine
from sparsefeat.errors import BenchmarkError, SparsefeatError
from sparsefeat.system import describe_end, start_python


class WorkerProcess:
    """One engine in its own process, which computes only while it answers a command.

    Parameters
    ----------
    engine
        The engine to run.
    options
        Options to build the engine with, in addition to its own.
    work
        The input, as `worker` reads it: arrays or files.
    folder
        The folder for the log of the process's output.

    Raises
    ------
    ProviderError, PrecisionError, DependencyError
        The engine isn't available here.
    BenchmarkError
        The engine can't be built for another reason, or its process ended.
    """

    def __init__(
        self, engine: Engine, *, options: dict[str, Any], work: dict[str, Any], folder: Path
    ) -> None:
        self.engine = engine
        self._log = folder / f"{engine.name}.log"
        with self._log.open("wb") as log:
            self._process = start_python("-m", "sparsefeat.bench.worker", text=True, stderr=log)
        try:
            start = {"build": engine.build, "options": engine.options | options, **work}
            self.facts: dict[str, Any] = self.ask(**start)["facts"]
        except BaseException:
            self.close()
            raise

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchmarkError(f"engine {self.engine.name}: its process {self._end()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._error(answer["error"], answer["message"])
        return answer

    def close(self) -> None:
        """Kill the process and those that it has started."""
        self._process.kill()
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):  # they have ended
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _error(self, name: str, message: str) -> SparsefeatError:
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, SparsefeatError):
            return kind(message)
        return BenchmarkError(f"engine {self.engine.name} failed ({name}: {message})")

    def _end(self) -> str:
        returncode = self._process.wait()
        if returncode < 0:
            return describe_end(returncode)
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["no message"]
        return f"{describe_end(returncode)}: {lines[-1]}"
