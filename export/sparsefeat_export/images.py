"""Which images the certificate is measured on."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sparsefeat_export.certificate import MIN_IMAGES
from sparsefeat_export.errors import ImagesError

SHIPPED = Path(__file__).parent / "photos"
MAX_IMAGES = 32  # more take minutes and change nothing
MIN_EXTENT = 32  # pixels of either side, as VGG16 needs
MAX_PIXELS = 64_000_000  # a decoded one is in memory whole, 192 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleImage:
    """A usable image: where it is, and its file's SHA-256."""

    path: Path
    sha256: str


def find_images(folder: str | Path | None, log: Callable[[str], object]) -> list[SampleImage]:
    """List the images to certify on: under `folder`, or those that the package ships.

    Where there are very many, 32 of them, evenly spaced by name.

    Raises
    ------
    ImagesError
        Fewer than eight are usable.
    """
    folder = SHIPPED if folder is None else folder
    found = find_readable_images(
        folder, MIN_IMAGES, "the certificate is measured on them", most=MAX_IMAGES
    )
    if len(found) == MAX_IMAGES:
        log(f"certifying on {MAX_IMAGES} images in {folder}: more change nothing")
    return found


def find_readable_images(
    folder: str | Path, least: int, purpose: str, *, most: int | None = None
) -> list[SampleImage]:
    """List different usable images under `folder`, sorted by their paths.

    Usable ones can be read, have at least 32 pixels on either side and at most 64 million in
    all, and are not of one colour.

    Parameters
    ----------
    least, purpose
        How many there have to be, and what for, as an error says it.
    most
        How many are enough: no more are looked at.

    Raises
    ------
    ImagesError
        There are fewer than `least`, or the path is empty.
    """
    if not str(folder):
        raise ImagesError("got '' for the folder of images, expected a path")
    folder = Path(folder)
    if not folder.is_dir():
        raise ImagesError(f"{folder} is not a folder: expected one with images")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen: dict[str, Path] = {}
    for path in _spread(files, most or len(files)):
        if len(chosen) == most:
            break
        if _is_usable(path):
            with path.open("rb") as file:
                chosen.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), path)
    if len(chosen) < least:
        raise ImagesError(
            f"{folder} has too few usable images ({len(chosen)}; files: {len(files)}), "
            f"expected at least {least}, all different, of at least {MIN_EXTENT} x {MIN_EXTENT} "
            f"pixels and more than one colour: {purpose}"
        )
    usable = [SampleImage(path=path.absolute(), sha256=sha) for sha, path in chosen.items()]
    return sorted(usable, key=lambda one: one.path)


def _spread(files: list[Path], count: int) -> list[Path]:
    """Order files so that the first `count` are evenly spaced; the others stand in for them."""
    step = -(-len(files) // max(1, count))
    return [path for start in range(step) for path in files[start::step]]


def _is_usable(path: Path) -> bool:
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if min(image.size) < MIN_EXTENT or image.width * image.height > MAX_PIXELS:
                return False
            bands = image.convert("RGB").split()
        return any(low != high for low, high in (band.getextrema() for band in bands))
    except Exception:  # Pillow's decoders raise whatever a damaged file leads them to
        return False
