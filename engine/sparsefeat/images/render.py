"""From an opened picture to 8-bit RGB pixels of the model's size."""

import math
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from sparsefeat.images.opening import load
from sparsefeat.images.presets import Preset
from sparsefeat.images.unreadable import Reason, UnreadableError

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = tuple(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))


def render(
    picture: Image.Image, preset: Preset, size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], frozenset[str]]:
    """Decode `picture` and bring it to `size`, (height, width).

    With a preset that ignores every quirk this does what ``keras.utils.load_img`` does, call
    for call. Returns uint8 (height, width, 3) and the quirks met, honoured or not.
    """
    notes = set()
    if preset.jpeg_margin is not None:
        _reduce(picture, preset, size, preset.jpeg_margin)
    load(picture)
    upright = _upright(picture)
    if upright is not None:
        notes.add("exif-orientation")
    if depth := _depth(picture):
        notes.add(depth)
        if preset.full_depth:
            picture = _to_eight_bits(picture)
    if _is_transparent(picture):
        notes.add("transparency")
        if preset.background is not None:
            picture = _on_background(picture, preset.background)
    picture = _to_rgb(picture)
    if preset.orient and upright is not None:
        picture = picture.transpose(upright)
    return np.asarray(_fit(picture, preset, size)), frozenset(notes)


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height once it is turned as its EXIF orientation says; before it is decoded."""
    width, height = picture.size
    # Pillow reports a turned TIFF as upright already.
    if not isinstance(picture, TiffImagePlugin.TiffImageFile) and _upright(picture) in _SIDEWAYS:
        return height, width
    return width, height


def _reduce(picture: Image.Image, preset: Preset, size: tuple[int, int], margin: float) -> None:
    """Have a JPEG decoded at a fraction of its size, which its transform gives for less work."""
    if not isinstance(picture, JpegImagePlugin.JpegImageFile):
        return
    height, width = size
    if _upright(picture) in _SIDEWAYS:
        height, width = width, height
    # What is cut away needn't be there in full either: the cut is what is resized.
    needed = margin / preset.crop_share
    picture.draft(None, (math.ceil(needed * width), math.ceil(needed * height)))


def _upright(picture: Image.Image) -> Image.Transpose | None:
    # Pixels matter more than metadata: a picture with damaged EXIF is one without.
    with suppress(Exception):
        return _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def _depth(picture: Image.Image) -> str | None:
    if picture.mode == "F":
        return "float"
    if picture.mode.startswith("I;16"):
        return "sixteen-bit"
    if picture.mode == "I" and np.asarray(picture).max() > 255:
        return "sixteen-bit"
    return None


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    levels = np.asarray(picture)
    if picture.mode == "F":
        finite = np.nan_to_num(levels, nan=0.0)
        eight_bit = finite * 255.0 if finite.max() <= 1.0 else finite
    else:
        eight_bit = levels * (255.0 / 65535.0)
    grey = Image.fromarray(np.rint(np.clip(eight_bit, 0.0, 255.0)).astype(np.uint8))
    transparent_level = picture.info.get("transparency")
    if isinstance(transparent_level, int):
        alpha = np.where(levels == transparent_level, 0, 255).astype(np.uint8)
        return Image.merge("LA", (grey, Image.fromarray(alpha)))
    return grey


def _is_transparent(picture: Image.Image) -> bool:
    if not picture.has_transparency_data:
        return False
    # Pillow can't tell for some damaged palettes; Keras never looks.
    with suppress(ValueError):
        return bool(np.asarray(_with_alpha(picture).getchannel("A")).min() < 255)
    return False


def _with_alpha(picture: Image.Image) -> Image.Image:
    if picture.mode == "La":  # Pillow converts premultiplied grey to LA only
        picture = picture.convert("LA")
    return picture.convert("RGBA")


def _on_background(picture: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    background = Image.new("RGBA", picture.size, (*colour, 255))
    return Image.alpha_composite(background, _with_alpha(picture))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    info: dict[Any, Any] = picture.info
    if isinstance(info.get("transparency"), bytes):
        # Pillow warns that converting drops a palette's alpha, which is what is meant here.
        picture = picture.copy()
        del picture.info["transparency"]
    try:
        return picture.convert("RGB")
    except ValueError as exc:
        raise UnreadableError(Reason.UNSUPPORTED) from exc


def _fit(picture: Image.Image, preset: Preset, size: tuple[int, int]) -> Image.Image:
    height, width = size
    resample = _RESAMPLE[preset.resample]
    if preset.fit == "crop":
        # One resampling of the centre, rather than resizing and then cutting.
        scale = preset.crop_share * min(picture.width / width, picture.height / height)
        left = (picture.width - width * scale) / 2
        upper = (picture.height - height * scale) / 2
        box = (left, upper, left + width * scale, upper + height * scale)
        return picture.resize((width, height), resample, box=box)
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), resample)
