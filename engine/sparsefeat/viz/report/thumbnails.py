"""Small pictures of the originals, where they are still what they were."""

import base64
import io
import os
from dataclasses import dataclass

from PIL import Image

from sparsefeat.images import (
    MAX_PIXELS,
    PRESETS,
    UnreadableError,
    open_picture,
    pillow_errors,
    read_original,
    render,
    upright_size,
)

LONG_SIDE = 200  # pixels
_QUALITY = 75


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnail:
    """A picture as the ``src`` of an image, or the reason why there is none."""

    src: str = ""
    missing: str = ""


def make_thumbnail(
    path: str, root: str, sha256: str, photos: str | os.PathLike[str] | None = None
) -> Thumbnail:
    """Make a small JPEG of the picture that gave a row.

    Parameters
    ----------
    path, root, sha256, photos
        As `sparsefeat.images.read_original` takes them.

    Returns
    -------
    At most 200 pixels wide and high, some 5 to 10 kB, upright, in its own proportions. There is
    none where the file is gone, can't be read, or has other bytes than when it was stored.
    """
    content = read_original(path, root, sha256, photos)
    if isinstance(content, str):
        return Thumbnail(missing=content)
    try:
        with pillow_errors():
            return Thumbnail(src=_data_url(content))
    except UnreadableError as exc:
        return Thumbnail(missing=str(exc.reason))


def _data_url(content: bytes) -> str:
    picture = open_picture(io.BytesIO(content), MAX_PIXELS)
    width, height = upright_size(picture)
    scale = min(1.0, LONG_SIDE / max(width, height))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels, _ = render(picture, PRESETS["bilinear"], size)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
