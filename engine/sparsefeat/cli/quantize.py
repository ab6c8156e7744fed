"""`sparsefeat quantize`."""

import click

from sparsefeat.cli.export import export_package, model_files
from sparsefeat.cli.options import OutputFile
from sparsefeat.cli.output import log, print_json, print_table, printable
from sparsefeat.cli.progress import shown
from sparsefeat.system import counted, format_bytes

EXAMPLES = """
\b
Examples:
  sparsefeat quantize vgg16.onnx --calibration photos/ -o vgg16-int8.onnx
  sparsefeat quantize vgg16.onnx --calibration photos/ -o int8.onnx --views 64
"""


@click.command(epilog=EXAMPLES)
@click.argument("model", metavar="MODEL")
@click.option(
    "--calibration",
    required=True,
    metavar="DIR",
    help="At least 16 images, similar to those that the model will process.",
)
@click.option(
    "--validation",
    metavar="DIR",
    help="At least eight other images to measure the error with.  [default: every fourth "
    "calibration image, which is then left out of calibration]",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputFile(".onnx", is_text=False),
    help="Model file to write; its weights go to FILE.data.",
)
@click.option(
    "--views",
    default=48,
    show_default=True,
    type=click.IntRange(12, 256),
    metavar="N",
    help="Calibrate and measure with at least N images; if there are fewer, with crops of them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def quantize(
    model: str,
    calibration: str,
    output: str,
    validation: str | None = None,
    views: int = 48,
    as_json: bool = False,
) -> None:
    """Make an int8 model file from a float32 one, and measure its error.

    Every layer is compared with float32 on images that aren't used for calibration. Needs
    pip install 'sparsefeat[cpu]'.
    """
    with export_package() as package, shown("layer passes") as progress:
        result = package.quantize(
            model,
            output,
            calibration=calibration,
            validation=validation,
            views=views,
            log=log,
            progress=progress,
        )
    files = model_files(result.path)
    if as_json:
        print_json({"files": files, "quantization": result.metadata["quantization"]})
        return
    rows = [
        (
            one.layer,
            f"{one.relative_l2:.1e}",
            f"{one.agreement:.4f}",
            f"{one.cosine_mean:.5f}",
            f"{one.cosine_min:.5f}",
            f"{one.neighbours:.3f}",
        )
        for one in result.layers
    ]
    print_table(
        ("layer", "relative error", "zeros agree", "mean cosine", "lowest", "5 neighbours"), rows
    )
    held_out = result.metadata["quantization"]["held_out"]
    click.echo(
        f"measured against float32 on {counted(held_out['count'], 'image')} "
        f"({counted(held_out['views'], 'view')}) that were not used for calibration"
    )
    for path, size in files.items():
        click.echo(f"{printable(path)}: {format_bytes(size)}")
