"""Work that a signal ends in an orderly way."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from types import FrameType
from typing import TypeVar

import click

from sparsefeat.cli.output import log

T = TypeVar("T")

# Python handles a signal when the main thread wakes, which on Windows no signal makes it do.
WAKE_SECONDS = 0.2


def run_stoppable(
    work: Callable[[threading.Event], T], *, unit: str = "batch"
) -> tuple[T, int | None]:
    """Do work that SIGINT or SIGTERM asks to stop; a second signal ends the process at once.

    The work is done in a thread of its own, because the main one answers signals, and can't
    while it is inside the network.

    Parameters
    ----------
    work
        Takes the event that is set when it should stop.
    unit
        What it ends before it stops, as the user is told.

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
        log(f"stopping after the {unit} in hand; once more to stop at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="sparsefeat-work") as thread:
            future = thread.submit(work, stop)
            while True:
                try:
                    return future.result(WAKE_SECONDS), received[0] if received else None
                except TimeoutError:
                    if future.done():  # it raised one itself
                        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_if_stopped(early: bool, signal_number: int | None, *, all_again: bool = False) -> None:
    """Say that there is more to do, and end as programs do that a signal has ended."""
    if early:
        rest = "begins anew" if all_again else "takes up from here"
        log(f"stopped early; the same command {rest}")
    if signal_number is not None:
        raise click.exceptions.Exit(128 + signal_number)
