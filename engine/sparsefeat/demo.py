"""Real photographs for a first try, from packages that ship some."""

import shutil
from importlib import resources
from pathlib import Path

from sparsefeat.errors import MissingDependencyError

# Package, folder inside it, files, and what installs it.
SHIPPED = (
    ("skimage", "data", ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
)


def copy_photographs(folder: Path) -> list[Path]:
    """Copy the photographs that scikit-image and scikit-learn ship into `folder`.

    Raises
    ------
    MissingDependencyError
        One of the two is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copied = []
    for package, inside, names in SHIPPED:
        try:
            source = resources.files(package).joinpath(*inside.split("/"))
        except ModuleNotFoundError as exc:
            raise MissingDependencyError(
                f"{package} is not installed, and the demo's photographs come from it; "
                "install it with: pip install 'sparsefeat[demo]'"
            ) from exc
        for name in names:
            with resources.as_file(source / name) as file:
                copied.append(Path(shutil.copy2(file, folder / name)))
    return copied
