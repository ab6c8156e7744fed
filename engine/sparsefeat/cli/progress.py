"""Shows progress: as a bar on a terminal, elsewhere as a log record every 30 seconds."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_FIRST_SECONDS = 2.0
LOG_EVERY_SECONDS = 30.0

_log = logging.getLogger("sparsefeat")

Show = Callable[..., None]
"""Called with the number done, the total (None if unknown) and a note.

Optional arguments: `worked`, the number that were not skipped, from which the rate is computed; and
`what`, the things that are counted for now, if they differ from those that `shown` was given."""


@contextmanager
def shown(things: str, *, transient: bool = False) -> Iterator[Show]:
    """Show how many things are done, how fast, and how long the rest will take.

    Parameters
    ----------
    things
        The things that are counted: "images", "parts".
    transient
        Whether to remove the bar at the end.
    """
    start, counted = time.monotonic(), things
    with _bar(transient) if sys.stderr.isatty() else _records() as draw:

        def show(
            done: int,
            total: int | None,
            note: str = "",
            *,
            worked: int | None = None,
            what: str = things,
        ) -> None:
            nonlocal start, counted
            if not done or what != counted:  # the time before was preparation
                start, counted = time.monotonic(), what
            seconds = max(time.monotonic() - start, 1e-9)
            rate = (done if worked is None else worked) / seconds
            notes = [f"{rate:,.1f} {what}/s", note]
            if total is not None:
                left = format_seconds((total - done) / rate) if rate else "?"
                notes.insert(1, f"{left} left")
            draw(done, total, what, ", ".join(filter(None, notes)))

        yield show


@contextmanager
def _bar(transient: bool) -> Iterator[Callable[[int, int | None, str, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=transient) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, what, said: bar.update(
            task, completed=done, total=total, description=f"{what} {said}"
        )


@contextmanager
def _records() -> Iterator[Callable[[int, int | None, str, str], None]]:
    due = time.monotonic() + LOG_FIRST_SECONDS

    def draw(done: int, total: int | None, what: str, said: str) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + LOG_EVERY_SECONDS
            of = "" if total is None else f" of {total:,}"
            _log.info("%s%s %s, %s", f"{done:,}", of, what, said)

    yield draw


def format_seconds(seconds: float) -> str:
    """Write a time as hours, minutes and seconds.

    Examples
    --------
    >>> format_seconds(8), format_seconds(75.4), format_seconds(10_000)
    ('8 s', '1:15', '2:46:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
