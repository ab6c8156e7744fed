"""Comparing a store's rows with the photographs they were made from."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsefeat.images.source import decode_path
from sparsefeat.store.report import Finding


def check_source(
    part: str, rows: Mapping[str, Sequence[Any]], sources: Sequence[Path]
) -> Iterator[Finding]:
    """Yield which pictures of a part are in none of some folders, or are others there.

    Parameters
    ----------
    part
        The part's name.
    rows
        Its table of pictures.
    sources
        The folders that play the part of the recorded roots: a picture that is in one of them
        as it was is found.
    """
    columns = (rows[name] for name in ("path", "bytes", "sha256"))
    for number, (path, size, sha256) in enumerate(zip(*columns, strict=True)):
        compared = [_compare(source, path, size, sha256) for source in sources]
        if all(compared):
            # What differs says more than that it isn't in the other folders.
            what = next((each for each in compared if "is missing" not in each), compared[0])
            yield Finding(what=f"{path} {what}", part=part, rows=(number, number + 1))


def _compare(source: Path, path: str, size: int, sha256: str) -> str:
    try:
        relative = Path(decode_path(path))
        if relative.is_absolute() or ".." in relative.parts:
            return f"leads out of {source}"
        with (source / relative).open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:  # it may be of any size: there is no need to read it
                return f"has changed: {found} bytes, expected {size}"
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return f"is missing in {source}"
    except (OSError, ValueError) as exc:
        return f"can't be read in {source}: {exc}"
    return "" if digest == sha256 else "has changed: its SHA-256 differs"
