"""`sparsefeat verify`."""

import dataclasses
import sys

import click

from sparsefeat.cli.output import print_json
from sparsefeat.units import human_bytes

EXAMPLES = """
\b
Examples:
  sparsefeat verify features/
  sparsefeat verify features/ --source photos/
"""


@click.command(epilog=EXAMPLES)
@click.argument("store")
@click.option(
    "--source",
    metavar="DIR",
    multiple=True,
    help="Compare with the pictures in DIR, too: their sizes and digests. Once for each folder "
    "that the store was made from.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def verify(store: str, source: tuple[str, ...], as_json: bool) -> None:
    """Check every byte of STORE: checksums, order and bounds of indices, counts, metadata.

    Exit code 1 says that something isn't as it was written.
    """
    from sparsefeat.cli.progress import shown
    from sparsefeat.store import verify as verify_store

    with shown("parts") as show:
        report = verify_store(
            store, source=source, progress=lambda done, total: show(done, total, "")
        )
    if as_json:
        print_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        for finding in report.findings:
            click.echo(str(finding))
        pictures = f", {report.pictures:,} pictures compared" if source else ""
        click.echo(
            f"{store}: {'sound' if report.ok else 'DAMAGED'}; {report.rows:,} rows, "
            f"{report.parts:,} parts, {report.files:,} files, "
            f"{human_bytes(report.n_bytes)} checked{pictures}"
        )
    if not report.ok:
        sys.exit(1)
