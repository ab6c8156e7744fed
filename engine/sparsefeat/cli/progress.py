"""How long work goes: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sparsefeat.cli.output import log

if TYPE_CHECKING:
    from sparsefeat.pipeline import ExtractionResult

LOG_EVERY_SECONDS = 30.0

Show = Callable[[int, int, str], None]
"""Takes how many are done, of how many, and what else to say."""


@contextmanager
def shown(what: str) -> Iterator[Show]:
    """Show how many of something are done, on standard error.

    Parameters
    ----------
    what
        The things counted: "pictures", "parts".
    """
    if not sys.stderr.isatty():
        yield _Lines(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, note: str) -> None:
            bar.update(task, completed=done, total=total, description=note)

        yield show


@contextmanager
def extraction_shown() -> Iterator[Callable[["ExtractionResult"], None]]:
    """Show how an extraction goes, with its rate, the time left and the number of rejects."""
    start = time.monotonic()
    with shown("pictures") as show:

        def report(progress: "ExtractionResult") -> None:
            # Pictures that are passed over take no time, and say nothing of those to come.
            rate = progress.worked / (time.monotonic() - start)
            left = (progress.total - progress.done) / rate if rate else 0.0
            show(
                progress.done,
                progress.total,
                f"{rate:.1f} images/s, {human_seconds(left)} left, {progress.rejected:,} rejected",
            )

        yield report


@contextmanager
def rate_shown(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of something are done, with the rate in `unit` a second and the time left."""
    start = time.monotonic()
    with shown(what) as show:

        def report(done: int, total: int) -> None:
            rate = done / (time.monotonic() - start)
            left = (total - done) / rate if rate else 0.0
            show(done, total, f"{rate:.1f} {unit}/s, {human_seconds(left)} left")

        yield report


@contextmanager
def rows_shown() -> Iterator[Callable[[int, int], None]]:
    """Show how many rows are done, with the rate and the time left."""
    start = time.monotonic()
    with shown("rows") as show:

        def report(done: int, total: int) -> None:
            rate = done / (time.monotonic() - start)
            left = human_seconds((total - done) / rate) if rate else "?"
            show(done, total, f"{rate:,.0f} rows/s, {left} left")

        yield report


class _Lines:
    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if now - self._last >= LOG_EVERY_SECONDS:
            self._last = now
            log(", ".join(filter(None, [f"{done:,} of {total:,} {self._what}", note])))


def human_seconds(seconds: float) -> str:
    """Write a time as hours, minutes and seconds.

    Examples
    --------
    >>> human_seconds(8), human_seconds(75.4), human_seconds(10_000)
    ('8 s', '1:15', '2:46:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
