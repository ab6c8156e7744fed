"""`sparsefeat merge`."""

import dataclasses
import time

import click

from sparsefeat.cli.options import OutputFolder, bytes_per_part_option, rows_per_part_option
from sparsefeat.cli.output import print_json, printable
from sparsefeat.cli.progress import shown
from sparsefeat.cli.stopping import exit_if_stopped, run_stoppable
from sparsefeat.system import counted, format_bytes

EXAMPLES = """
\b
Examples:
  sparsefeat merge monday/ tuesday/ -o week/
  sparsefeat merge wednesday/ -o week/
Running the same command again continues where the last run ended.
"""


@click.command(epilog=EXAMPLES)
@click.argument("stores", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputFolder(),
    metavar="STORE",
    help="Store to write; it is created, or extended if it exists.",
)
@click.option(
    "--where",
    metavar="EXPR",
    help="Only rows that match the condition, such as 'width > 500'.  [default: all]",
)
@rows_per_part_option
@bytes_per_part_option
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def merge(
    stores: tuple[str, ...],
    output: str,
    where: str | None,
    rows_per_part: int,
    bytes_per_part: int,
    as_json: bool,
) -> None:
    """Write the rows of STORES into one store; STORES don't change.

    STORES must have the same model, settings and layers. A row that occurs several times is
    written once. Rejects are copied, unless their image has a row in one of STORES.
    """
    from sparsefeat.store import merge as merge_stores

    start = time.monotonic()
    with shown("rows") as show:
        outcome, stopped_by = run_stoppable(
            lambda stop: merge_stores(
                stores,
                output,
                where=where,
                rows_per_part=rows_per_part,
                bytes_per_part=bytes_per_part,
                progress=show,
                stop=stop,
            ),
            stopping="stopping after the current part",
        )
    if as_json:
        print_json({"store": output, **dataclasses.asdict(outcome)})
    else:
        click.echo(
            f"{printable(output)}: {counted(outcome.rows, 'row')} and "
            f"{counted(outcome.rejected, 'reject')} added in {counted(outcome.parts, 'part')}, "
            f"{format_bytes(outcome.bytes_added)}; "
            f"{counted(outcome.duplicates, 'row')} already in the store; "
            f"{time.monotonic() - start:.1f} s"
        )
    exit_if_stopped(outcome.stopped, stopped_by)
