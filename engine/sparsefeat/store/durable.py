"""Making sure that what was written is on the disk."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_ONCE = 16


def sync_tree(folder: Path) -> None:
    """Have the system write every file under a folder, and the folders themselves."""
    paths = [folder, *folder.rglob("*")]
    # Many at once, because a file system commits those that wait together in one go.
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sparsefeat-sync") as pool:
        for _ in pool.map(sync, paths):
            pass


def sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of names."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder, and keeps their names safe by itself
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
