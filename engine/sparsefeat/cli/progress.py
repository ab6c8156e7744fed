"""How far work is: a bar on a terminal, a record of the log now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_EVERY_SECONDS = 30.0

_log = logging.getLogger("sparsefeat")

Show = Callable[..., None]
"""Takes how many are done, of how many, and what else to say; and as `worked` how many of them
took time, where others were passed over."""


@contextmanager
def shown(what: str) -> Iterator[Show]:
    """Show how many of something are done, how fast, and how long the others will take.

    Parameters
    ----------
    what
        The things counted: "images", "parts".
    """
    start = time.monotonic()
    with _bar(what) if sys.stderr.isatty() else _records(what) as draw:

        def show(done: int, total: int, note: str = "", *, worked: int | None = None) -> None:
            nonlocal start
            if not done:  # what came before was preparation
                start = time.monotonic()
            seconds = max(time.monotonic() - start, 1e-9)
            rate = (done if worked is None else worked) / seconds
            left = human_seconds((total - done) / rate) if rate else "?"
            draw(done, total, f"{rate:,.1f} {what}/s, {left} left{note and ', '}{note}")

        yield show


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = BarColumn(), MofNCompleteColumn(), TextColumn(what + " {task.description}")
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, said: bar.update(
            task, completed=done, total=total, description=said
        )


@contextmanager
def _records(what: str) -> Iterator[Callable[[int, int, str], None]]:
    last = time.monotonic()

    def draw(done: int, total: int, said: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_EVERY_SECONDS:
            last = time.monotonic()
            _log.info("%s of %s %s, %s", f"{done:,}", f"{total:,}", what, said)

    yield draw


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
