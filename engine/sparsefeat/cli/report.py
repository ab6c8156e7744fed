"""`sparsefeat report`."""

import click

from sparsefeat.cli.options import OutputFile, check_one_printed
from sparsefeat.cli.output import print_json, write_text

EXAMPLES = """
\b
Examples:
  sparsefeat report features/ -o report.html
  sparsefeat report features/ -o report.html --images /media/moved/photos
  sparsefeat report features/ --layers 'block[45]_*' --json > report.json
"""


@click.command(epilog=EXAMPLES)
@click.argument("store")
@click.option(
    "-o",
    "--output",
    type=OutputFile(".html"),
    help="Page to write; - prints it.  [default: report.html, or none with --json]",
)
@click.option(
    "-l", "--layers", metavar="NAMES", help="Layers, separated by commas.  [default: all]"
)
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Folder where the images are now, if they were moved. Used for thumbnails.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Seed of the rows drawn for the floor estimate.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def report(
    store: str,
    output: str | None,
    layers: str | None = None,
    images: str | None = None,
    seed: int = 0,
    as_json: bool = False,
) -> None:
    """Write a page about STORE: zeros, channels, unusual images, sizes and provenance.

    The page is one file that needs no network. Needs pip install 'sparsefeat[viz]'.
    """
    from sparsefeat.cli.progress import shown
    from sparsefeat.viz.pages import check_installed
    from sparsefeat.viz.report import build_report, findings, heading, render_report

    check_one_printed(("--json", as_json), ("-o -", output))
    page = output
    if page is None and not as_json:
        page = OutputFile(".html").convert("report.html", None, None)
    if page is not None:
        check_installed()
    with shown("rows") as show:
        found = build_report(store, layers=layers, images=images, seed=seed, progress=show)
    if page is not None:
        write_text(page, render_report(found))
    if as_json:
        print_json(found.to_json())
    if as_json or page == "-":
        return
    click.echo(heading(found))
    for sentence in findings(found):
        click.echo(sentence)
