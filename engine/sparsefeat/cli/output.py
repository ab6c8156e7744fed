"""What commands print: results on standard output, everything else on standard error."""

import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from sparsefeat.extraction import Progress

LOG_EVERY_SECONDS = 30.0


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def log(message: str) -> None:
    """Print one line on standard error."""
    click.echo(message, err=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print rows below headings; the first `left` columns are text, the others numbers."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for cells in (columns, *rows):
        line = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        click.echo("  ".join(line).rstrip())


def human_bytes(count: int) -> str:
    """Write a number of bytes with a unit, three digits or so.

    Examples
    --------
    >>> human_bytes(602112), human_bytes(12)
    ('602 kB', '12 B')
    """
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings as lines on standard error, without the source line that raised them."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: log(f"warning: {message}")
        yield


@contextmanager
def extraction_progress() -> Iterator["ExtractionProgress"]:
    """Show how an extraction goes: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress as Bar,
        TextColumn,
        TimeRemainingColumn,
    )

    with Bar(
        TextColumn("extracting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[rejected]} rejected"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as bar:
        yield _Bar(bar)


class ExtractionProgress:
    """Something that is told how far an extraction is."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, progress: "Progress") -> None:
        """Show the state."""
        raise NotImplementedError

    def rate(self, progress: "Progress") -> float:
        """Images per second since the start."""
        return progress.done / max(time.monotonic() - self._start, 1e-9)


class _Lines(ExtractionProgress):
    def __init__(self) -> None:
        super().__init__()
        self._last = self._start

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        if now - self._last < LOG_EVERY_SECONDS or not progress.done:
            return
        self._last = now
        rate = self.rate(progress)
        left = (progress.total - progress.done) / rate
        log(
            f"{progress.done:,} of {progress.total:,} pictures, {rate:.1f} images/s, "
            f"{left:,.0f} s left, {progress.rejected:,} rejected"
        )


class _Bar(ExtractionProgress):
    def __init__(self, bar: "Bar") -> None:
        super().__init__()
        self._bar = bar
        self._task = bar.add_task("", total=None, rate="", rejected=0)

    def __call__(self, progress: "Progress") -> None:
        self._bar.update(
            self._task,
            total=progress.total,
            completed=progress.done,
            rate=f"{self.rate(progress):.1f} images/s",
            rejected=progress.rejected,
        )
