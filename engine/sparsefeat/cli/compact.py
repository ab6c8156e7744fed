"""`sparsefeat compact`."""

import dataclasses
import time
from typing import TYPE_CHECKING

import click

from sparsefeat.cli.options import bytes_per_part_option, rows_per_part_option
from sparsefeat.cli.output import print_json, printable
from sparsefeat.cli.progress import shown
from sparsefeat.cli.stopping import exit_if_stopped, run_stoppable
from sparsefeat.cli.vacuum import describe_vacuum
from sparsefeat.system import counted, format_bytes

if TYPE_CHECKING:
    from sparsefeat.store import Compaction

EXAMPLES = """
\b
Examples:
  sparsefeat compact features/ --dry-run
  sparsefeat compact features/
  sparsefeat compact features/ --all --rows-per-part 4096
"""


@click.command(epilog=EXAMPLES)
@click.argument("store")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also rewrite full parts: encodings and compression are chosen again.",
)
@click.option(
    "--vacuum",
    is_flag=True,
    help="Delete the old parts at once. Use it only if nothing else reads or writes the store.",
)
@rows_per_part_option
@bytes_per_part_option
@click.option("-n", "--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def compact(
    store: str,
    everything: bool,
    vacuum: bool,
    rows_per_part: int,
    bytes_per_part: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Combine small neighbouring parts of STORE into full ones.

    Rows keep their order and their values. Rows that were removed or replaced are dropped, and so
    are rejects of images that now have a row. A part is small if it has less than half the rows and
    half the bytes of a full one. Other processes may read and write the store meanwhile. The old
    parts take space until sparsefeat vacuum deletes them.
    """
    from sparsefeat.store import compact as compact_store

    start = time.monotonic()
    with shown("rows") as show:
        outcome, stopped_by = run_stoppable(
            lambda stop: compact_store(
                store,
                everything=everything,
                vacuum=vacuum,
                rows_per_part=rows_per_part,
                bytes_per_part=bytes_per_part,
                dry_run=dry_run,
                progress=show,
                stop=stop,
            ),
            stopping="stopping after the current part",
        )
    if as_json:
        print_json({"store": store, **dataclasses.asdict(outcome)})
    else:
        click.echo(f"{printable(store)}: {_said(outcome, time.monotonic() - start)}")
        if outcome.vacuumed is not None:
            click.echo(f"{printable(store)}: {describe_vacuum(store, outcome.vacuumed)}")
    exit_if_stopped(outcome.stopped, stopped_by, all_again=everything)


def _said(outcome: "Compaction", seconds: float) -> str:
    n_unchanged = outcome.parts_before - sum(map(len, outcome.groups))
    lost = f"; {counted(outcome.lost, 'group')} changed by other processes" * bool(outcome.lost)
    if not outcome.groups:
        what = "nothing was combined" if outcome.lost else "nothing to combine"
        return f"{what} in {counted(n_unchanged, 'part')}{lost}"
    planned = outcome.bytes_after is None
    said = (
        f"{counted(outcome.parts_before, 'part')} "
        f"{'would become' if planned else 'became'} {outcome.parts_after:,}, "
        f"{counted(outcome.rows, 'row')} rewritten; "
        f"{counted(outcome.resolved, 'resolved reject')} dropped; "
        f"{format_bytes(outcome.bytes_before)} replaced"
    )
    if outcome.bytes_after is None:
        return said
    return f"{said} by {format_bytes(outcome.bytes_after)}{lost}; {seconds:.1f} s"
