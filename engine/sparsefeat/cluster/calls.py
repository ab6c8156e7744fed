"""Calls of a function in other processes, and how they end."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

LOCAL: Final = "local"
"""The address that stands for worker processes on this machine."""


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
