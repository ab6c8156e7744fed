"""Calls of a function in other processes, and how they end."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar

A = TypeVar("A")
R = TypeVar("R")

LOCAL: Final = "local"
"""The address that stands for worker processes on this machine."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Finished(Generic[A, R]):
    """A call that has ended: with a result, or because its worker process died.

    Attributes
    ----------
    argument
        What the function was called with.
    result
        What it returned; None if the process died.
    death
        Why the process died; empty if it didn't.
    blameless
        Whether the death says nothing about the call: its machine was lost, or ran out of memory.
    """

    argument: A
    result: R | None = None
    death: str = ""
    blameless: bool = False


class Workers(ABC, Generic[A, R]):
    """Runs calls of one function in other processes.

    A process serves many calls, one at a time: what the function caches stays loaded. Nothing is
    retried. Leaving the context ends the calls that still run.
    """

    threads: int
    """CPUs of one call."""

    def __init__(self) -> None:
        self._running: dict[Any, A] = {}  # arguments, by what stands for the call
        self._failure: Exception | None = None

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Calls that can run at the same time, at least 1."""

    @property
    def n_running(self) -> int:
        """Calls that were submitted and that `finished` has not returned yet."""
        return len(self._running)

    @abstractmethod
    def submit(self, argument: A) -> None:
        """Start a call as soon as there is a worker for it."""

    def finished(self, seconds: float) -> list[Finished[A, R]]:
        """Wait at most `seconds` for a call to end; return all calls that have ended.

        An exception of a call is raised once the calls that ended with it were returned.
        """
        ended: list[Finished[A, R]] = []
        for call in self._wait(seconds) if self._failure is None else ():
            try:
                one = self._end(call, self._running.pop(call))
            except Exception as exc:
                self._failure = self._failure or exc
                continue
            if one.death:
                _log.warning("a worker is lost: %s", one.death)
            ended.append(one)
        if self._failure is not None and not ended:
            raise self._failure
        return ended

    @abstractmethod
    def close(self) -> None:
        """End all calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @abstractmethod
    def _wait(self, seconds: float) -> Iterable[Any]:
        """Wait at most `seconds` for a call to end; give the keys in `_running` of those ended."""

    @abstractmethod
    def _end(self, call: Any, argument: A) -> Finished[A, R]:
        """Tell how a call ended; raise what it raised."""
