"""Runs work that a signal can stop in an orderly way."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from types import FrameType
from typing import TypeVar

import click

from sparsefeat.cli.output import log

T = TypeVar("T")

# Python handles signals when the main thread wakes, which a signal doesn't cause on Windows.
WAKE_SECONDS = 0.2


def run_stoppable(
    work: Callable[[threading.Event], T], *, stopping: str = "stopping after the current batch"
) -> tuple[T, int | None]:
    """Run work that SIGINT or SIGTERM asks to stop; a second signal ends the process at once.

    The work runs in its own thread, so that the main thread can handle signals while the network
    computes.

    Parameters
    ----------
    work
        Called with an event, which is set when the work should stop.
    stopping
        What the user is told when it is asked to stop.

    Returns
    -------
    tuple
        What `work` returned, and the number of the signal, if there was one.
    """
    stop = threading.Event()
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        received.append(number)
        stop.set()
        log(f"{stopping}; interrupt again to stop at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="sparsefeat-work") as thread:
            future = thread.submit(work, stop)
            while True:
                try:
                    return future.result(WAKE_SECONDS), received[0] if received else None
                except TimeoutError:
                    if future.done():  # the work itself raised TimeoutError
                        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_if_stopped(early: bool, signal_number: int | None, *, all_again: bool = False) -> None:
    """Log that work is left, and exit with the code of the signal, if there was one."""
    if early:
        rest = "starts from the beginning" if all_again else "continues from here"
        log(f"stopped early; the same command {rest}")
    if signal_number is not None:
        raise click.exceptions.Exit(128 + signal_number)
