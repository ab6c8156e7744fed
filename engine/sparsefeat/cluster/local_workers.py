"""Calls of a function in worker processes on this machine."""

import os
import pickle
import queue
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Final, TypeVar

from sparsefeat.cluster.workers import Finished, Workers
from sparsefeat.system import (
    available_threads,
    describe_end,
    describe_exception,
    failed_import,
    is_kill,
    start_python,
)

A = TypeVar("A")
R = TypeVar("R")

_SERVE: Final = "from sparsefeat.cluster.local_workers import serve; serve()"
ENDING_SECONDS: Final = 10  # that a process which answers no more is waited for


class LocalWorkers(Workers[A, R]):
    """Runs calls of one function in processes of this machine.

    A process that dies is replaced.

    Parameters
    ----------
    function
        Its argument and its result must be picklable. Workers import it by its name, so it must be
        in an installed package.
    threads
        CPUs of one call; as many processes are started as this process has CPUs for. By default
        one process with all of them.
    gpu
        Whether calls use a GPU; then there is only one process.
    """

    def __init__(
        self, function: Callable[[A], R], *, threads: int | None = None, gpu: bool = False
    ) -> None:
        super().__init__()
        self.threads = threads or available_threads()
        self._capacity = 1 if gpu else max(1, available_threads() // self.threads)
        self._function = function
        self._callers = ThreadPoolExecutor(self._capacity, thread_name_prefix="sparsefeat-worker")
        self._processes: list[_Process] = []
        self._idle = queue.SimpleQueue[_Process]()
        try:
            for _ in range(self._capacity):
                self._processes.append(_Process())
                self._idle.put(self._processes[-1])
        except BaseException:
            self.close()
            raise

    @property
    def capacity(self) -> int:
        """Calls that can run at the same time."""
        return self._capacity

    def submit(self, argument: A) -> None:
        """Start a call as soon as there is a worker for it."""
        self._running[self._callers.submit(self._call, argument)] = argument

    def close(self) -> None:
        """End all calls, and the processes."""
        self._callers.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._callers.shutdown()
        for process in self._processes:
            process.end()
        self._running.clear()

    def _wait(self, seconds: float) -> Iterable[Future[Finished[A, R]]]:
        return wait(self._running, seconds, FIRST_COMPLETED).done

    def _end(self, call: Future[Finished[A, R]], argument: A) -> Finished[A, R]:
        return call.result()

    def _call(self, argument: A) -> Finished[A, R]:
        process = self._idle.get()
        try:
            answer = process.ask(pickle.dumps((self._function, argument)))
        except (EOFError, OSError, pickle.UnpicklingError):
            returncode = process.replace()
            return Finished(
                argument=argument,
                death=f"its process {describe_end(returncode)}",
                blameless=is_kill(returncode),  # by the system, which needs memory
            )
        finally:
            self._idle.put(process)
        result, raised = pickle.loads(answer)
        if raised is not None:
            raise raised
        return Finished(argument=argument, result=result)


class _Process:
    """A worker process, which runs `serve`, and the pipes to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # no process is started after `kill`
        self._killed = False
        self._process = start_python("-c", _SERVE)

    def ask(self, call: bytes) -> bytes:
        """Send a call, and wait for the answer.

        Raises
        ------
        EOFError, OSError, UnpicklingError
            The process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(call, self._process.stdin)
        self._process.stdin.flush()
        answer: bytes = pickle.load(self._process.stdout)
        return answer

    def replace(self) -> int:
        """Wait for the process to end, and start another one; return the exit status."""
        returncode = self.end()
        with self._lock:
            if not self._killed:
                self._process = start_python("-c", _SERVE)
        return returncode

    def kill(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            self._killed = True
            self._process.kill()

    def end(self) -> int:
        """Wait for a process that answers no more, and close the pipes; return its exit status."""
        try:
            returncode = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            returncode = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # nobody reads what is still buffered
                pipe.close()
        return returncode


def serve() -> None:
    """Answer the calls that come through standard input; exit when it is closed."""
    commands, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Calls may read standard input and print, also in processes that they start.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    calls = queue.SimpleQueue[bytes]()

    def read() -> None:
        try:
            while True:
                calls.put(pickle.load(commands))
        finally:
            os._exit(0)  # the parent has ended, perhaps while it wrote a call

    threading.Thread(target=read, daemon=True).start()
    while True:
        pickle.dump(_answer(calls.get()), answers)
        answers.flush()


def _answer(call: bytes) -> bytes:
    """Make a call; return what it returned and what it raised, pickled."""
    try:
        function, argument = pickle.loads(call)
        return pickle.dumps((function(argument), None))
    except Exception as exc:
        raised = failed_import(exc) or exc  # only here can be seen which package is broken
        note = "".join(traceback.format_exception(exc))
        raised.add_note(note)
        try:
            answer = pickle.dumps((None, raised))
            pickle.loads(answer)
        except Exception:
            described = RuntimeError(describe_exception(exc))
            described.add_note(note)
            return pickle.dumps((None, described))
        return answer
