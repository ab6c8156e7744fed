"""`sparsefeat maps`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparsefeat.cli.options import (
    COMPUTING,
    OutputFile,
    Word,
    check_one_printed,
    extractor_options,
    model_option,
)
from sparsefeat.cli.output import (
    log,
    print_json,
    print_table,
    printable,
    warnings_as_lines,
    write_text,
)
from sparsefeat.system import percent

if TYPE_CHECKING:
    from sparsefeat.viz.maps import FeatureMaps

EXAMPLES = """
\b
Examples:
  sparsefeat maps cat.jpg --layer block1_conv1 -o maps.html
  sparsefeat maps cat.jpg -l block4_conv1 --channels top:16 -o maps.png
  sparsefeat maps cat.jpg -l block3_conv2 --relu-split -o maps.html
  sparsefeat maps cat.jpg -l block5_pool --best selectivity --reference store/
"""


@click.command(epilog=EXAMPLES)
@click.argument("image")
@click.option(
    "-o",
    "--output",
    type=OutputFile(".html", ".png"),
    help="Write a page (.html) or an image (.png); - prints the page.",
)
@model_option
@click.option(
    "-l",
    "--layer",
    required=True,
    metavar="NAME",
    help="Layer to show; it must have rows and columns.",
)
@click.option(
    "--channels",
    metavar="LIST",
    default="all",
    show_default=True,
    help="Channels to show: all, 5, 3,8,12, 0-15, or top:16 for the best by --best.",
)
@click.option(
    "--best",
    type=Word(["energy", "variance", "contrast", "selectivity"]),
    help="Show the best channels first, by this criterion.  [default: energy with top:N, else the "
    "order of --channels]",
)
@click.option(
    "--reference",
    metavar="STORE|IMAGES",
    help="Store with this layer, or images, that --best selectivity compares with.",
)
@click.option(
    "--stage",
    type=Word(["pre", "post", "both"]),
    help="Show values before ReLU, after it, or both.  [default: both if the layer has a ReLU]",
)
@click.option("--relu-split", is_flag=True, help="Show what ReLU keeps and what it clips.")
@click.option(
    "--scale",
    type=Word(["shared", "channel"]),
    help="One colour scale for all channels, or one per channel.  [default: shared]",
)
@extractor_options(*COMPUTING)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers of each channel as JSON.")
def maps(
    image: str,
    model: str,
    layer: str,
    channels: str,
    best: str | None,
    reference: str | None,
    stage: str | None,
    relu_split: bool,
    scale: str | None,
    options: dict[str, Any],
    output: str | None,
    as_json: bool,
) -> None:
    """Show a layer's feature maps for IMAGE, before and after ReLU.

    Without -o it prints a line for each channel. With -o it needs pip install 'sparsefeat[viz]'.
    """
    import sparsefeat
    from sparsefeat.model import ModelFile
    from sparsefeat.pipeline import Extractor
    from sparsefeat.viz.maps import outputs

    if output is None and (scale is not None or relu_split):
        raise click.UsageError(
            "--scale and --relu-split say how maps are drawn: add -o FILE.html or -o FILE.png"
        )
    if relu_split and stage == "post":
        raise click.UsageError(
            "--relu-split shows values before ReLU, and --stage post doesn't: leave one of them out"
        )
    if output is not None:
        check_one_printed(("--json", as_json), ("-o -", output))
        _check_output(output)
    with warnings_as_lines():
        # The extractor is made for just these outputs, so that the network is loaded once.
        names = outputs(layer, stage, ModelFile.open(model).metadata.layers)  # type: ignore[arg-type]
        if relu_split and len(names) == 1:
            raise click.UsageError(f"{layer} has no ReLU: leave --relu-split out")
        found = sparsefeat.maps(
            Extractor(model, names, **options),
            image,
            layer,
            channels=channels,
            best=best,  # type: ignore[arg-type]  # click.Choice gives str
            stage=stage,  # type: ignore[arg-type]
            reference=reference,
        )
        if output is not None:
            drawn: dict[str, Any] = {"scale": scale or "shared", "relu_split": relu_split}
            if output == "-":
                write_text(output, found.html(**drawn))
            else:
                found.save(output, **drawn)
                log(f"{printable(output)}: written")
    if as_json:
        print_json(found.to_json())
    elif output is None:
        _print(found)


def _check_output(output: str) -> None:
    """Check that the packages which draw the output are installed, before anything is computed."""
    from sparsefeat.viz.maps import check_matplotlib
    from sparsefeat.viz.pages import check_installed

    if Path(output).suffix.lower() == ".png":
        check_matplotlib()
    else:
        check_installed()


def _print(found: "FeatureMaps") -> None:
    frame = found.frame()
    rows = [
        [_cell(name, value) for name, value in zip(frame.columns, line, strict=True)]
        for line in frame.itertuples(index=False, name=None)
    ]
    click.echo(f"{found.layer}, {printable(found.image)}")
    print_table(list(frame.columns), rows, left=0)


def _cell(name: str, value: float) -> str:
    if name in ("zeros", "clipped"):
        return percent(value)
    return str(value) if name == "channel" else f"{value:.4g}"
