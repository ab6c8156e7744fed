"""`sparsefeat remove`."""

import dataclasses

import click

from sparsefeat.cli.output import log, print_json, printable
from sparsefeat.system import counted

EXAMPLES = """
\b
Examples:
  sparsefeat remove features/ --where "label == 'trash'"
  sparsefeat remove features/ --where "width < 64 or height < 64" --dry-run
To free the space, run sparsefeat compact, then sparsefeat vacuum.
"""


@click.command(epilog=EXAMPLES)
@click.argument("store")
@click.option(
    "--where",
    required=True,
    metavar="EXPR",
    help="Rows to remove: a condition on columns of obs, as pandas' DataFrame.query takes it.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only print how many rows match.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def remove(store: str, where: str, dry_run: bool, as_json: bool) -> None:
    """Remove the rows of STORE that match a condition.

    sparsefeat extract adds the rows again if it finds their images.
    """
    from sparsefeat.store import remove as remove_rows

    outcome = remove_rows(store, where, dry_run=dry_run)
    if as_json:
        print_json({"store": store, **dataclasses.asdict(outcome)})
        return
    verb = "would be removed" if dry_run else "removed"
    click.echo(
        f"{printable(store)}: {counted(outcome.rows, 'row')} {verb}, {outcome.rows_left:,} left"
    )
    if outcome.rows and not dry_run:
        log("sparsefeat extract adds them again if it finds their images")
