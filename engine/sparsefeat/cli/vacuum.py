"""`sparsefeat vacuum`."""

import dataclasses
import re
from typing import TYPE_CHECKING

import click

from sparsefeat.cli.output import print_json, printable
from sparsefeat.storage import is_url
from sparsefeat.system import counted, format_bytes

if TYPE_CHECKING:
    from sparsefeat.store import Vacuum

EXAMPLES = """
\b
Examples:
  sparsefeat vacuum features/ --dry-run
  sparsefeat vacuum features/
  sparsefeat vacuum features/ --older-than 0
Use the last one only if nothing else reads or writes the store.
"""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


class Duration(click.ParamType[float]):
    """A time such as ``30m``, ``24h`` or ``7d``, in seconds."""

    name = "TIME"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse number and unit."""
        found = re.fullmatch(r"([0-9]+)([smhd]?)", value.strip().lower())
        if not found or (not found[2] and int(found[1])):
            self.fail(f"got {value!r}, expected a time such as 30m, 24h or 7d", param, ctx)
        return float(int(found[1]) * _UNITS[found[2] or "s"])


@click.command(epilog=EXAMPLES)
@click.argument("store")
@click.option(
    "--older-than",
    default="24h",
    show_default=True,
    type=Duration(),
    help="Keep files that the store used, or that changed, within that time.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only print what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def vacuum(store: str, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Delete files that STORE no longer uses: replaced parts, and files of killed writers.

    Processes that opened STORE within the time of --older-than can go on reading. No other
    command deletes committed data.
    """
    from sparsefeat.cli.progress import shown
    from sparsefeat.store import vacuum as vacuum_store

    with shown("parts") as show:
        outcome = vacuum_store(store, older_than=older_than, dry_run=dry_run, progress=show)
    if as_json:
        print_json({"store": store, **dataclasses.asdict(outcome)})
        return
    click.echo(f"{printable(store)}: {describe_vacuum(store, outcome, dry_run=dry_run)}")


def describe_vacuum(store: str, outcome: "Vacuum", *, dry_run: bool = False) -> str:
    """Say what was deleted, or would be."""
    verb = "would be deleted" if dry_run else "deleted"
    waiting = (
        f"; {counted(outcome.waiting, 'part')} kept (changed or replaced recently)"
        if outcome.waiting
        else ""
    )
    size = (
        format_bytes(outcome.stored_bytes)
        if is_url(store)
        else f"{format_bytes(outcome.allocated_bytes)} on disk"
    )
    return (
        f"{counted(outcome.parts, 'part')} ({size}), "
        f"{counted(outcome.snapshots, 'snapshot')} and "
        f"{counted(outcome.leftovers, 'temporary file')} {verb}{waiting}"
    )
