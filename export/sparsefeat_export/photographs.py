"""Which photographs the certificate is measured on."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sparsefeat_export.certificate import MIN_PHOTOGRAPHS
from sparsefeat_export.errors import PhotographsError

SHIPPED = Path(__file__).parent / "photos"
MAX_PHOTOGRAPHS = 32  # more take minutes and change nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Photograph:
    """A readable picture: where it is, and its file's SHA-256."""

    path: Path
    sha256: str


def photographs(folder: Path | None, report: Callable[[str], object]) -> list[Photograph]:
    """List the readable pictures under `folder`, or those that the package ships.

    Where there are very many, 32 of them, evenly spaced by name.

    Raises
    ------
    PhotographsError
        Fewer than eight can be read.
    """
    folder = SHIPPED if folder is None else folder
    if not folder.is_dir():
        raise PhotographsError(f"{folder} is not a folder: expected one with photographs")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    readable = [path for path in files if _is_readable(path)]
    if len(readable) < MIN_PHOTOGRAPHS:
        raise PhotographsError(
            f"{folder} holds {len(readable)} readable photographs among {len(files)} files, "
            f"expected at least {MIN_PHOTOGRAPHS}: the certificate is measured on them"
        )
    if len(readable) > MAX_PHOTOGRAPHS:
        report(f"certifying on {MAX_PHOTOGRAPHS} of the {len(readable)} photographs in {folder}")
        step = len(readable) / MAX_PHOTOGRAPHS
        readable = [readable[int(index * step)] for index in range(MAX_PHOTOGRAPHS)]
    return [
        Photograph(path=path.absolute(), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for path in readable
    ]


def _is_readable(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except Exception:  # Pillow's decoders raise whatever a damaged file leads them to
        return False
    return True
