"""`sparsefeat history`."""

import dataclasses

import click

from sparsefeat.cli.output import print_json, print_table

EXAMPLES = """
\b
Examples:
  sparsefeat history features/
  sparsefeat history features/ --json
From Python, sparsefeat.open("features/", snapshot=3) opens one of them.
"""


@click.command(epilog=EXAMPLES)
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Print the snapshots as JSON.")
def history(store: str, as_json: bool) -> None:
    """List the snapshots of STORE: when and by which command each was made, and its rows.

    Each commit makes a snapshot; sparsefeat vacuum deletes old ones.
    """
    from sparsefeat.store import history as list_commits

    commits = list_commits(store)
    if as_json:
        print_json([dataclasses.asdict(commit) for commit in commits])
        return
    rows = [
        (
            str(commit.snapshot),
            commit.created,
            commit.operation,
            f"{commit.rows:,}",
            "" if commit.added is None else f"{commit.added:+,}",
            "" if commit.parts is None else f"{commit.parts:,}",
        )
        for commit in commits
    ]
    print_table(("snapshot", "created", "by", "rows", "change", "parts"), rows, left=3)
