"""Find usable images for the certificate and for calibration."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sparsefeat_export.certificate import MIN_IMAGES
from sparsefeat_export.errors import ImagesError

SHIPPED = Path(__file__).parent / "photos"
MAX_IMAGES = 32  # more images take minutes and do not change the result
MIN_EXTENT = 32  # minimum height and width in pixels, which VGG16 needs
MAX_PIXELS = 64_000_000  # 192 MB of memory when decoded


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleImage:
    """A usable image: its path and the SHA-256 of its file."""

    path: Path
    sha256: str


def find_images(folder: str | Path | None, log: Callable[[str], object]) -> list[SampleImage]:
    """List the images for the certificate: those below `folder`, or the package's own.

    Of more than 32 images, 32 are taken, evenly spaced in the order of their names.

    Raises
    ------
    ImagesError
        Fewer than eight images are usable.
    """
    folder = SHIPPED if folder is None else folder
    found = find_readable_images(
        folder, MIN_IMAGES, "the certificate is measured on them", most=MAX_IMAGES
    )
    if len(found) == MAX_IMAGES:
        log(f"certifying with {MAX_IMAGES} images of {folder}; more do not change the result")
    return found


def find_readable_images(
    folder: str | Path, least: int, purpose: str, *, most: int | None = None
) -> list[SampleImage]:
    """List the usable images below `folder`, without duplicates, sorted by path.

    A usable image can be decoded, is at least 32x32 pixels, has at most 64 million pixels, and
    has more than one colour.

    Parameters
    ----------
    least, purpose
        How many images are needed, and what for; the purpose is quoted in the error.
    most
        Stop when this many are found.

    Raises
    ------
    ImagesError
        There are fewer than `least`, or `folder` is empty or not a folder.
    """
    if not str(folder):
        raise ImagesError("got '' for the folder of images, expected a path")
    folder = Path(folder)
    if not folder.is_dir():
        raise ImagesError(f"{folder} is not a folder: expected a folder with images")
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
    """Order files so that the first `count` are evenly spaced and the others are substitutes."""
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
    except Exception:  # for a damaged file, Pillow's decoders can raise anything
        return False
