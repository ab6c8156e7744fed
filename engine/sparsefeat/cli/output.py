"""Prints results to standard output, and everything else to standard error."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from sparsefeat.storage import write_file
from sparsefeat.system import format_bytes, one_line

LONGEST_TEXT = 40  # characters: the largest width of a text column

if TYPE_CHECKING:
    from sparsefeat.images import Listing, Search


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def log(message: str) -> None:
    """Print one line to standard error; if that fails, the work goes on."""
    with suppress(OSError):
        click.echo(message, err=True)


def printable(name: str) -> str:
    """Escape unprintable characters, such as a newline in a file's name."""
    return one_line(name, most=len(name))


def note_listing(*listings: "Listing | Search") -> None:
    """Log how many companion files were skipped, and which patterns matched nothing."""
    from sparsefeat.images import describe_companions

    for images in listings:
        if images.companions:
            log(describe_companions(images.companions))
    for option, name in listings[0].unmatched:
        if all((option, name) in images.unmatched for images in listings):
            why = "patterns are compared with paths relative to the folder that is searched"
            if option in ("keep", "label-column"):
                why = "no image has a value in a column or field of that name"
            log(f"warning: --{option} {printable(name)} matched nothing: {why}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print rows below headings; the first `left` columns are text, the others numbers.

    Very long texts don't widen their column. Unprintable characters are escaped, because names
    from outside may contain terminal commands.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [
        min(max(map(len, cells)), LONGEST_TEXT if index < left else 1000)
        for index, cells in enumerate(zip(columns, *rows, strict=True))
    ]
    for cells in (columns, *rows):
        line = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        click.echo("  ".join(line).rstrip())


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings as lines on standard error, without the source line that raised them.

    Pillow's warnings are left out, because the images are either decoded or rejected.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.showwarning = lambda message, *_: log(f"warning: {message}")
        yield


def write_text(file: str, text: str) -> None:
    """Write a file, and log its name and size; ``-`` is standard output."""
    if file == "-":
        click.echo(text, nl=False)
        return
    size = write_file(file, text)
    log(f"{printable(file)}: written, {format_bytes(size)}")
