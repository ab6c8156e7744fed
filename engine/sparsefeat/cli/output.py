"""What commands print: results on standard output, everything else on standard error."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from sparsefeat.storage import write_file
from sparsefeat.system import format_bytes, one_line

LONGEST_TEXT = 40  # characters that a column of text is wide at most

if TYPE_CHECKING:
    from sparsefeat.images import Listing, Search


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def log(message: str) -> None:
    """Print one line on standard error; what can't be said doesn't stop the work."""
    with suppress(OSError):
        click.echo(message, err=True)


def printable(name: str) -> str:
    """Write what doesn't print, such as a line's end in a file's name, as an escape."""
    return one_line(name, most=len(name))


def note_listing(*listings: "Listing | Search") -> None:
    """Say how many files were passed over as companions, and which patterns matched nothing."""
    from sparsefeat.images import describe_companions

    for images in listings:
        if images.companions:
            log(describe_companions(images.companions))
    for option, name in listings[0].unmatched:
        if all((option, name) in images.unmatched for images in listings):
            why = "it is compared with paths inside the folder that is searched, without that "
            why += "folder's own name"
            if option in ("keep", "label-column"):
                why = "no image has a column or field of that name with a value in it"
            log(f"warning: --{option} {printable(name)} matched nothing: {why}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print rows below headings; the first `left` columns are text, the others numbers.

    A line with a very long text is longer than the others, which are not padded to it. What is in
    a file that may be anybody's can hold a terminal's commands: they are escaped.
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

    Pillow's own are left out: what it warns of is either met all the same, or rejected.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.showwarning = lambda message, *_: log(f"warning: {message}")
        yield


def write_text(file: str, text: str) -> None:
    """Write a file, and say so on standard error; ``-`` is standard output."""
    if file == "-":
        click.echo(text, nl=False)
        return
    size = write_file(file, text)
    log(f"{printable(file)}: written, {format_bytes(size)}")
