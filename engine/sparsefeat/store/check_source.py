"""Comparing a store's rows with the photographs they were made from."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsefeat.pictures.source import decode_path
from sparsefeat.store.report import Finding


def check_source(part: str, rows: Mapping[str, Sequence[Any]], source: Path) -> Iterator[Finding]:
    """Yield which pictures of a part are missing in a folder, or are others.

    Parameters
    ----------
    part
        The part's name.
    rows
        Its table of pictures.
    source
        The folder that plays the part of the recorded roots.
    """
    columns = (rows[name] for name in ("path", "bytes", "sha256"))
    for number, (path, size, sha256) in enumerate(zip(*columns, strict=True)):
        what = _compare(source, path, size, sha256)
        if what:
            yield Finding(what=f"{path} {what}", part=part, rows=(number, number + 1))


def _compare(source: Path, path: str, size: int, sha256: str) -> str:
    try:
        relative = Path(decode_path(path))
        if relative.is_absolute() or ".." in relative.parts:
            return f"leads out of {source}"
        with (source / relative).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found = file.tell()
    except FileNotFoundError:
        return f"is missing in {source}"
    except (OSError, ValueError) as exc:
        return f"can't be read in {source}: {exc}"
    if found != size:
        return f"has changed: {found} bytes, expected {size}"
    return "" if digest == sha256 else "has changed: its SHA-256 differs"
