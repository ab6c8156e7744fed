"""Real photographs for a first try, from packages that ship some."""

from importlib import resources
from pathlib import Path

from sparsefeat.dependencies import importing
from sparsefeat.whole_file import write_file

# Package, folder inside it, files, and what installs it.
SHIPPED = (
    ("skimage", "data", ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
)


def copy_photographs(folder: Path) -> list[Path]:
    """Copy the photographs that scikit-image and scikit-learn ship into `folder`, made if missing.

    Raises
    ------
    DependencyError
        One of the two isn't installed, or doesn't load.
    InputError
        A file can't be written.
    """
    copied = []
    for package, inside, names in SHIPPED:
        purpose = "the demo's photographs come from it"
        with importing(package, "pip install 'sparsefeat[demo]'", purpose=purpose):
            source = resources.files(package).joinpath(*inside.split("/"))
            contents = [(source / name).read_bytes() for name in names]
        for name, content in zip(names, contents, strict=True):
            file = folder / name
            if not (file.is_file() and file.read_bytes() == content):
                write_file(file, content)
            copied.append(file)
    return copied
