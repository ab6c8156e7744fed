"""`sparsefeat verify`."""

import dataclasses
import sys

import click

from sparsefeat.cli.options import is_model
from sparsefeat.cli.output import print_json, printable
from sparsefeat.system import counted, format_bytes

EXAMPLES = """
\b
Examples:
  sparsefeat verify features/
  sparsefeat verify features/ --source photos/
  sparsefeat verify vgg16.onnx
"""


@click.command(epilog=EXAMPLES)
@click.argument("path")
@click.option(
    "--source",
    metavar="DIR",
    multiple=True,
    help="Also compare with the original images in DIR: sizes and digests. Repeat it for each "
    "folder that the store was made from.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def verify(path: str, source: tuple[str, ...], as_json: bool) -> None:
    """Check every byte of PATH: a store's folder or URL, or a model file.

    For a store: checksums, order and bounds of indices, counts, metadata. For a model: the graph
    and all weights. Exit code 1 means that PATH is damaged, or that an image differs from the one
    in DIR.
    """
    if not is_model(path):
        _store(path, source, as_json)
    elif source:
        raise click.UsageError(f"--source is for stores, and {path} is a model file: leave it out")
    else:
        _model(path, as_json)


def _model(path: str, as_json: bool) -> None:
    from sparsefeat.model import verify_model

    report = verify_model(path)
    if as_json:
        print_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        for finding in report.findings:
            click.echo(finding)
        click.echo(
            f"{printable(path)}: {'undamaged' if report.ok else 'DAMAGED'}; "
            f"{counted(report.tensors, 'tensor')}, {format_bytes(report.n_bytes)} checked"
        )
    if not report.ok:
        sys.exit(1)


def _store(store: str, source: tuple[str, ...], as_json: bool) -> None:
    from sparsefeat.cli.progress import shown
    from sparsefeat.store import verify as verify_store

    with shown("parts") as show:
        report = verify_store(store, source=source, progress=show)
    if as_json:
        print_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        for finding in (*report.findings, *report.changes):
            click.echo(str(finding))
        click.echo(
            f"{printable(store)}: {'undamaged' if report.ok else 'DAMAGED'}; "
            f"{counted(report.rows, 'row')}, "
            f"{counted(report.parts, 'part')}, {counted(report.files, 'file')}, "
            f"{format_bytes(report.n_bytes)} checked"
        )
        if source:
            click.echo(
                f"{', '.join(source)}: {counted(report.images, 'image')} compared, "
                f"{len(report.changes):,} changed, missing or unreadable since they were stored"
            )
    if not report.ok or report.changes:
        sys.exit(1)
