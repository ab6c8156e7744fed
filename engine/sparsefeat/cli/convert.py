"""`sparsefeat convert`."""

import dataclasses
import time
from typing import TYPE_CHECKING

import click

from sparsefeat.cli.options import OutputFolder, Word
from sparsefeat.cli.output import print_json, print_table, printable
from sparsefeat.system import counted, format_bytes, percent

if TYPE_CHECKING:
    import threading

    from sparsefeat.interop.conversion import Conversion

EXAMPLES = """
\b
Examples:
  sparsefeat convert features/ -o features.h5ad
  sparsefeat convert features/ -o features.parquet --layers pools
  sparsefeat convert features/ --to npz -o matrices/
  sparsefeat convert features/ -o block5_pool.npz --layers block5_pool
  sparsefeat convert features/ -o people.h5ad --where "label == 'people'"
"""


@click.command(epilog=EXAMPLES)
@click.argument("store")
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputFolder(),
    metavar="OUT",
    help="New file; for npz a folder, or a file that ends in .npz for a single layer.",
)
@click.option(
    "--to",
    type=Word(["h5ad", "parquet", "npz"]),
    help="Format of OUT.  [default: the ending of OUT]",
)
@click.option(
    "-l", "--layers", metavar="NAMES", help="Layers, separated by commas.  [default: all]"
)
@click.option(
    "--where",
    metavar="EXPR",
    help="Only rows that match the condition, such as 'width > 500'.  [default: all]",
)
@click.option(
    "--memory",
    type=click.IntRange(1, 1 << 30),
    default=512,
    show_default=True,
    metavar="MIB",
    help="Approximate limit of memory, besides the table of rows.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def convert(
    store: str,
    output: str,
    to: str | None,
    layers: str | None,
    where: str | None,
    memory: int,
    force: bool,
    as_json: bool,
) -> None:
    """Convert STORE to a file that other programs read; values are equal bit for bit.

    OUT is created when it is complete; an interrupted or failed command leaves no file. h5ad and
    parquet need pip install 'sparsefeat[convert]'.
    """
    import sparsefeat
    from sparsefeat.cli.progress import shown
    from sparsefeat.cli.stopping import run_stoppable

    def work(stop: "threading.Event") -> "Conversion | None":
        def advance(done: int, total: int) -> None:
            if stop.is_set():
                raise _StoppedError
            show(done, total)

        try:
            return sparsefeat.convert(
                store,
                output,
                to=to,
                layers=layers,
                where=where,
                force=force,
                memory=memory << 20,
                progress=advance,
            )
        except _StoppedError:
            return None

    start = time.monotonic()
    with shown("rows") as show:
        done, stopped_by = run_stoppable(work, stopping="stopping after the current rows")
    if done is not None:
        seconds = time.monotonic() - start
        if as_json:
            print_json({**dataclasses.asdict(done), "seconds": seconds})
        else:
            _print(done, seconds)
    elif stopped_by is not None:
        raise click.exceptions.Exit(128 + stopped_by)


class _StoppedError(Exception):
    """A signal asked to stop."""


def _print(done: "Conversion", seconds: float) -> None:
    click.echo(
        f"{printable(done.path)}: {done.to}, {counted(done.rows, 'row')}, "
        f"{done.rejected:,} rejected, {format_bytes(done.bytes)}; {seconds:.1f} s"
    )
    rows = []
    for name, layer in done.layers.items():
        n_elements = done.rows * layer.n_features
        rows.append(
            (
                name,
                "x".join(map(str, layer.shape)),
                f"{layer.nnz:,}",
                format_bytes(layer.bytes),
                percent(layer.bytes / (4 * n_elements) if n_elements else None),
            )
        )
    print_table(("layer", "shape", "non-zeros", "written", "of dense"), rows)
