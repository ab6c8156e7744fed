"""How far work is: a bar on a terminal, a record of the log now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from sparsefeat.pipeline import ExtractionResult

LOG_FIRST_SECONDS = 2.0
LOG_EVERY_SECONDS = 30.0

_log = logging.getLogger("sparsefeat")

Draw = Callable[[int, int | None, str], None]
Show = Callable[..., None]
"""Takes how many are done, of how many (None while that isn't known), and what else to say; and
as `worked` how many of them took time, where others were passed over."""


@contextmanager
def shown(what: str, *, transient: bool = False) -> Iterator[Show]:
    """Show how many of something are done, how fast, and how long the others will take.

    Parameters
    ----------
    what
        The things counted: "images", "parts".
    transient
        Remove the bar in the end.
    """
    start = time.monotonic()
    with _bar(what, transient=transient) if sys.stderr.isatty() else _records(what) as draw:

        def show(
            done: int, total: int | None, note: str = "", *, worked: int | None = None
        ) -> None:
            nonlocal start
            if not done:  # what came before was preparation
                start = time.monotonic()
            seconds = max(time.monotonic() - start, 1e-9)
            rate = (done if worked is None else worked) / seconds
            notes = [f"{rate:,.1f} {what}/s"]
            if total is not None:
                notes.append(f"{human_seconds((total - done) / rate) if rate else '?'} left")
            draw(done, total, ", ".join([*notes, note] if note else notes))

        yield show


@contextmanager
def _bar(what: str, *, transient: bool) -> Iterator[Draw]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = BarColumn(), MofNCompleteColumn(), TextColumn(what + " {task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=transient) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, said: bar.update(
            task, completed=done, total=total, description=said
        )


@contextmanager
def _records(what: str) -> Iterator[Draw]:
    due = time.monotonic() + LOG_FIRST_SECONDS

    def draw(done: int, total: int | None, said: str) -> None:
        nonlocal due
        if (now := time.monotonic()) >= due:
            due = now + LOG_EVERY_SECONDS
            of = "" if total is None else f" of {total:,}"
            _log.info("%s%s %s, %s", f"{done:,}", of, what, said)

    yield draw


class ExtractionShown:
    """Shows how an extraction goes: how much of the store is known, and then the images."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._show_parts: Show | None = None
        self._show_images: Show | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def opening(self, done: int, total: int) -> None:
        """Show how many of the store's parts are known."""
        if self._show_parts is None:
            self._show_parts = self._shown.enter_context(shown("parts", transient=True))
        self._show_parts(done, total, "to know what is stored")

    def report(self, progress: "ExtractionResult") -> None:
        """Show the images, with their rate, the time left and the number of rejects."""
        if self._show_images is None:
            self._shown.close()  # of the parts
            self._show_images = self._shown.enter_context(shown("images"))
        self._show_images(
            progress.done,
            progress.total if progress.all_listed else None,
            f"{progress.rejected:,} rejected",
            worked=progress.worked,
        )


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
