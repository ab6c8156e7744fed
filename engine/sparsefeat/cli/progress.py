"""How long work goes: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from sparsefeat.cli.output import log

if TYPE_CHECKING:
    from sparsefeat.pipeline import ExtractionResult

LOG_FIRST_SECONDS = 2.0
LOG_EVERY_SECONDS = 30.0

Show = Callable[[int, int | None, str], None]
"""Takes how many are done, of how many if that is known, and what else to say."""


@contextmanager
def shown(what: str, *, transient: bool = False) -> Iterator[Show]:
    """Show how many of something are done, on standard error.

    Parameters
    ----------
    what
        The things counted: "pictures", "parts".
    transient
        Remove the bar in the end.
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
    with Progress(*columns, console=Console(stderr=True), transient=transient) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int | None, note: str) -> None:
            bar.update(task, completed=done, total=total, description=note)

        yield show


class ExtractionShown:
    """Shows how an extraction goes: what of the store is known, and then the pictures."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._show: Show | None = None
        self._is_opening = False
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def opening(self, done: int, total: int) -> None:
        """Show how many of the store's parts are known."""
        if self._show is None:
            self._show = self._shown.enter_context(
                shown("parts of the store looked at", transient=True)
            )
            self._is_opening = True
        self._show(done, total, "")
        self._start = time.monotonic()

    def report(self, progress: "ExtractionResult") -> None:
        """Show the pictures, with their rate, the time left and the number of rejects."""
        if self._show is None or self._is_opening:
            self._shown.close()
            self._show, self._is_opening = self._shown.enter_context(shown("pictures")), False
        # Pictures that are passed over take no time, and say nothing of those to come.
        rate = progress.worked / max(time.monotonic() - self._start, 1e-9)
        notes = [f"{rate:.1f} images/s"]
        if progress.all_listed:
            left = (progress.total - progress.done) / rate if rate else 0.0
            notes.append(f"{human_seconds(left)} left")
        notes.append(f"{progress.rejected:,} rejected")
        total = progress.total if progress.all_listed else None
        self._show(progress.done, total, ", ".join(notes))


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
        self._next = time.monotonic() + LOG_FIRST_SECONDS

    def __call__(self, done: int, total: int | None, note: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LOG_EVERY_SECONDS
            of = "" if total is None else f" of {total:,}"
            log(", ".join(filter(None, [f"{done:,}{of} {self._what}", note])))


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
