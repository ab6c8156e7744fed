"""Where things lie in a store's folder, and what its sizes are."""

import errno
import os
import re
from pathlib import Path
from typing import Final

from sparsefeat.errors import StoreNotFoundError
from sparsefeat.store.regular_file import read_refusal

FORMAT: Final = 2  # the newest that is understood; a part says the oldest that it needs
CHUNK: Final = 1 << 18  # elements that are compressed and checked together
SHARD: Final = 16 * CHUNK  # elements in one file
LOCK: Final = ".sparsefeat.lock"

_PART: Final = re.compile(r"part-([0-9]{5,})\.zarr")
_TEMPORARY: Final = re.compile(r"\.part-[0-9]{5,}\.[0-9a-f]{8}\.tmp")
_LAYER: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")


def part_name(number: int) -> str:
    """Name the folder of a committed part.

    Examples
    --------
    >>> part_name(7)
    'part-00007.zarr'
    """
    return f"part-{number:05d}.zarr"


def part_number(name: str) -> int | None:
    """Give the number in a part's name, or None for any other name.

    Examples
    --------
    >>> part_number("part-00007.zarr"), part_number("part-000007.zarr")
    (7, None)
    """
    match = _PART.fullmatch(name)
    number = int(match[1]) if match else None
    # Another spelling of a number would be a second part of that number.
    return number if number is not None and name == part_name(number) else None


def temporary_name(number: int, token: str) -> str:
    """Name the folder of a part in the making; `token` is 8 hexadecimal digits."""
    return f".part-{number:05d}.{token}.tmp"


def is_temporary_name(name: str) -> bool:
    """Tell whether a name is that of a part in the making."""
    return _TEMPORARY.fullmatch(name) is not None


def list_parts(folder: Path) -> list[Path]:
    """List the committed parts in the order of their numbers, replaced ones among them."""
    numbered = [
        (number, entry)
        for entry in folder.iterdir()
        if (number := part_number(entry.name)) is not None
    ]
    return [entry for _, entry in sorted(numbered)]


def next_number(folder: Path) -> int:
    """Give the number of the next part: no part that is there has a larger one, replaced or not."""
    parts = list_parts(folder)
    return 1 + (part_number(parts[-1].name) or 0) if parts else 0


def list_temporaries(folder: Path) -> list[Path]:
    """List the parts in the making: of the writer at work, or of killed ones."""
    return sorted(entry for entry in folder.iterdir() if is_temporary_name(entry.name))


def require_parts(folder: Path) -> list[Path]:
    """List the committed parts of a store that must have some.

    Raises
    ------
    StoreNotFoundError
        The folder is missing, is a file, or holds no part.
    StoreReadError
        The system refused to list it.
    """
    try:
        parts = list_parts(folder)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise StoreNotFoundError(
            f"{folder} is not a folder, expected a store: check the path, or extract into it first"
        ) from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise StoreNotFoundError(
                f"{folder} is a link that leads back to itself, expected a store: check the path"
            ) from exc
        if refused := read_refusal(folder, exc):
            raise refused from exc
        raise
    if not parts:
        names = sorted(entry.name for entry in folder.iterdir())
        models = [name for name in names if name.endswith(".onnx")]
        raise StoreNotFoundError(
            f"{folder} {'holds no part-*.zarr' if names else 'is an empty folder'}, expected a "
            f"store: {f'name {folder / models[0]}, or ' if models else ''}extract into it first"
        )
    return parts


def is_store(source: object) -> bool:
    """Say whether a path is a folder that holds ``part-*.zarr``."""
    if not isinstance(source, str | os.PathLike) or isinstance(source, bytes):
        return False
    folder = Path(source)
    return folder.is_dir() and bool(list_parts(folder))


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def layer_key(name: str) -> str:
    """Give the name under which AnnData sees a layer: "/" would make a group of it.

    Examples
    --------
    >>> layer_key("block1_conv1/pre")
    'block1_conv1.pre'
    """
    return name.replace("/", ".")


def is_layer_name(name: str) -> bool:
    """Tell whether a store can hold a layer of that name; no two of them share a key."""
    return _LAYER.fullmatch(name) is not None
