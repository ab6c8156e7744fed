"""How long work goes: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sparsefeat.cli.output import log

if TYPE_CHECKING:
    from sparsefeat.progress import Progress

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
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{what}  {{task.description}}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, description=note)

        yield show


@contextmanager
def extraction_shown() -> Iterator[Callable[["Progress"], None]]:
    """Show how an extraction goes, with its rate and the number of rejects."""
    start = time.monotonic()
    with shown("pictures") as show:

        def report(progress: "Progress") -> None:
            rate = progress.worked / (time.monotonic() - start)
            note = f"{rate:.1f} images/s, {progress.rejected:,} rejected"
            show(progress.done, progress.total, note)

        yield report


class _Lines:
    def __init__(self, what: str) -> None:
        self._what = what
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if now - self._last < LOG_EVERY_SECONDS or not done:
            return
        self._last = now
        left = (total - done) * (now - self._start) / done
        log(
            ", ".join(
                filter(None, [f"{done:,} of {total:,} {self._what}", note, f"{left:,.0f} s left"])
            )
        )
