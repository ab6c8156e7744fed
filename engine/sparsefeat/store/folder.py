"""A store's folder, seen by who wants to write into it."""

import shutil
from pathlib import Path

from sparsefeat.errors import StoreError
from sparsefeat.store.durable import sync
from sparsefeat.store.layout import list_parts, list_temporaries


def claim(folder: Path) -> None:
    """Make the folder if there is none, and refuse one that holds something else.

    Raises
    ------
    StoreError
        The path is a file, or a folder with visible files and no part of a store.
    OSError
        The folder can't be made.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, expected a folder: choose another path")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        sync(each.parent)
    foreign = next((entry for entry in folder.iterdir() if not entry.name.startswith(".")), None)
    if foreign is not None and not list_parts(folder):
        raise StoreError(
            f"{folder} holds {foreign.name} and no part-*.zarr, expected a store or an empty "
            "folder: choose another one"
        )


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left; call it with the lock held."""
    for leftover in list_temporaries(folder):
        shutil.rmtree(leftover)
