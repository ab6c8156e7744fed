"""`sparsefeat demo`."""

import os
import sys
from importlib import resources
from pathlib import Path

import click

from sparsefeat.cli.options import OutputFolder
from sparsefeat.cli.output import log, printable
from sparsefeat.storage import write_file
from sparsefeat.system import counted, importing

# Package, folder inside it, and files.
SHIPPED = (
    ("skimage", "data", ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
)


@click.command()
@click.option(
    "-o",
    "--output",
    default="demo",
    show_default=True,
    type=OutputFolder(),
    help="Folder for the model, the images, the store and the report.",
)
@click.pass_context
def demo(ctx: click.Context, output: str) -> None:
    """Export VGG16, extract six images, print what the store contains, and write a report.

    Files of an earlier demo are used again. Needs pip install 'sparsefeat[cpu,export,demo]'.
    """
    from sparsefeat.cli.export import export
    from sparsefeat.cli.extract import extract
    from sparsefeat.cli.info import info
    from sparsefeat.cli.report import report
    from sparsefeat.viz.pages import check_installed

    check_installed()

    folder = Path(output)
    model, photos, store = folder / "vgg16.onnx", folder / "photos", folder / "features"
    copied = copy_photographs(photos)
    number = counted(len(copied), "image")
    log(f"{printable(str(photos))}: {number}, copied from scikit-image and scikit-learn")
    if model.exists():
        log(f"{model}: exists already")
    else:
        ctx.invoke(export, output=str(model))
    ctx.invoke(extract, images=(str(photos),), model=str(model), output=str(store), layers="pools")
    click.echo()
    ctx.invoke(info, path=str(store))
    click.echo()
    python = os.path.relpath(sys.executable)
    line = f'import sparsefeat; print(sparsefeat.open("{store}")["block5_pool"].to_scipy())'
    click.echo(f"To open the store:\n{python} -c '{line}'")
    click.echo()
    page = folder / "report.html"
    ctx.invoke(report, store=str(store), output=str(page))
    click.echo()
    click.echo(f"Open the report in a browser: {page}")


def copy_photographs(folder: Path) -> list[Path]:
    """Copy the images that scikit-image and scikit-learn ship into `folder`, made if missing.

    Raises
    ------
    DependencyError
        One of the two isn't installed, or doesn't load.
    InputError
        A file can't be written.
    """
    copied = []
    for package, inside, names in SHIPPED:
        purpose = "the demo's images come from it"
        with importing(package, "pip install 'sparsefeat[demo]'", purpose=purpose):
            source = resources.files(package).joinpath(*inside.split("/"))
            contents = [(source / name).read_bytes() for name in names]
        for name, content in zip(names, contents, strict=True):
            file = folder / name
            if not (file.is_file() and file.read_bytes() == content):
                write_file(file, content)
            copied.append(file)
    return copied
