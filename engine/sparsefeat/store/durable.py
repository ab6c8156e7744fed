"""Making sure that what was written is on the disk."""

import os
from pathlib import Path


def sync_tree(folder: Path) -> None:
    """Have the system write every file under a folder, and the folders themselves."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of names."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder, and keeps their names safe by itself
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
