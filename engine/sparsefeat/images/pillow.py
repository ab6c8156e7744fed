"""Open, decode and resize images with Pillow, and translate its errors.

`open_image` differs from `PIL.Image.open` in three ways. It does not warn of large images, because
there is a limit instead, and because suppressing warnings is not thread-safe before Python 3.14. It
does not warn of missing decoders. It does not open formats for which Pillow runs another program.
"""

import errno
import functools
import importlib
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from sparsefeat.errors import DependencyError, MissingDependencyError
from sparsefeat.images.presets import Preset
from sparsefeat.images.source import Reason, UnreadableError, classify_os_error
from sparsefeat.system import importing

MAX_PIXELS = 178_956_970
"""Number of pixels above which Pillow, and so Keras, rejects an image as a decompression bomb."""

# For EPS, Pillow runs Ghostscript; for WMF it calls Windows; the others have no decoder.
_REFUSED_FORMATS = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
# The brands of HEIF files with HEVC-coded images.
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
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


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.preinit()  # first, as in PIL.Image.open: the common formats win over lenient ones
    Image.init()
    return tuple(name for name in Image.ID if name not in _REFUSED_FORMATS)


@functools.cache
def _heif() -> str | None:
    """Register a HEIF (HEIC) plug-in with Pillow: the first of two that loads.

    It is imported when the first HEIF image is opened.

    Returns
    -------
    str or None
        None if one loads; otherwise why the installed one does not load, or "" if none is
        installed.
    """
    broken = ""
    for plugin in ("pi_heif", "pillow_heif"):
        try:
            with importing(plugin, f"pip install --force-reinstall {plugin.replace('_', '-')}"):
                module = importlib.import_module(plugin)
                module.libheif_version()  # loads the library
                module.register_heif_opener()
        except MissingDependencyError:
            continue
        except DependencyError as exc:
            broken = broken or str(exc)
        else:
            return None
    return broken


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Turn any exception of a decoder into an `UnreadableError`.

    For broken files, Pillow's decoders raise all kinds of exceptions: ValueError, KeyError,
    OverflowError, zlib.error and others.
    """
    try:
        yield
    except UnreadableError:
        raise
    except Exception as exc:
        raise _cause(exc) from exc


def _cause(error: Exception) -> UnreadableError:
    said = str(error).lower()
    # A decoder that runs out of memory may raise OSError, recognisable only by its message.
    if isinstance(error, MemoryError) or "out of memory" in said:
        return UnreadableError(Reason.NO_MEMORY)
    if isinstance(error, Image.DecompressionBombError):
        return UnreadableError(Reason.TOO_MANY_PIXELS)
    if isinstance(error, Warning):
        return UnreadableError(Reason.WARNED)
    # OSErrors of decoders have no number, or EINVAL after seeking to an invalid offset.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return classify_os_error(error)
    truncated = isinstance(error, EOFError) or "truncated" in said
    return UnreadableError(Reason.TRUNCATED if truncated else Reason.CORRUPT)


def open_image(stream: IO[bytes], max_pixels: int) -> Image.Image:
    """Identify the format of an image and read its header.

    Raises
    ------
    UnreadableError
        No decoder recognises it, its header is damaged, or it has no pixels or too many.
    """
    with pillow_errors():
        image = _identify(stream)
        check_extent(image.size, max_pixels)
    return image


def _identify(stream: IO[bytes]) -> Image.Image:
    prefix = stream.read(16)
    formats, known = _formats(), False
    missing: UnreadableError | None = None
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS and "HEIF" not in formats:
        if (why := _heif()) is None:
            formats += ("HEIF",)
        else:
            missing = UnreadableError(Reason.NO_HEIF, why)
    for name in formats:
        factory, accept = Image.OPEN[name]
        try:
            answer = True if accept is None else accept(prefix)
        except (IndexError, TypeError, struct.error):  # the file is too short for this check
            continue
        if isinstance(answer, str):  # the decoder is not compiled in
            missing = UnreadableError(Reason.NO_DECODER)
        if answer is not True:
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            # As in PIL.Image.open: it is not this format, but may be another one.
            known = known or accept is not None
    raise missing or UnreadableError(Reason.HEADER if known else Reason.NO_IMAGE)


def check_extent(size: tuple[int, int], max_pixels: int) -> None:
    """Raise `UnreadableError` unless an image has between 1 and `max_pixels` pixels."""
    pixels = size[0] * size[1]
    if pixels < 1:
        raise UnreadableError(Reason.NO_PIXELS)
    if pixels > max_pixels:
        raise UnreadableError(Reason.TOO_MANY_PIXELS)


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height as stored; Pillow reports those of a rotated TIFF as upright."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2[256], image.tag_v2[257]
    return image.size


def load(image: Image.Image) -> None:
    """Decode the pixels."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tile:
        # When Pillow allocates the memory of a TIFF, it checks the size again and may warn.
        # Allocating it here, within our own limit, avoids that.
        image.im = Image.new(image.mode, stored_size(image)).im
    image.load()


def render(
    image: Image.Image, preset: Preset, size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], frozenset[str]]:
    """Decode `image` and resize it to `size`, (height, width).

    With the preset ``keras`` it makes the same calls of Pillow as ``keras.utils.load_img``.

    Returns
    -------
    pixels : uint8 (height, width, 3)
        RGB.
    notes : frozenset of str
        Keys of `QUIRKS` that apply to the image, whether the preset honours them or not.
    """
    notes = set()
    if preset.jpeg_margin is not None:
        _reduce(image, preset, size, preset.jpeg_margin)
    load(image)
    upright = _upright(image)
    if upright is not None:
        notes.add("exif-orientation")
    if depth := _depth(image):
        notes.add(depth)
        if preset.full_depth:
            image = _to_eight_bits(image)
    if _is_transparent(image):
        notes.add("transparency")
        if preset.background is not None:
            image = _on_background(image, preset.background)
    image = _to_rgb(image)
    if preset.orient and upright is not None:
        image = image.transpose(upright)
    return np.asarray(_fit(image, preset, size)), frozenset(notes)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height after applying the EXIF orientation, without decoding."""
    width, height = image.size
    # For a rotated TIFF, Pillow reports the upright size already.
    if not isinstance(image, TiffImagePlugin.TiffImageFile) and _upright(image) in _SIDEWAYS:
        return height, width
    return width, height


def _reduce(image: Image.Image, preset: Preset, size: tuple[int, int], margin: float) -> None:
    """Make Pillow decode a JPEG at 1/2, 1/4 or 1/8 of its size if that is enough: it is faster."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return
    height, width = size
    if _upright(image) in _SIDEWAYS:
        height, width = width, height
    # With a crop, the cropped area must have the needed size.
    needed = margin / preset.crop_share
    image.draft(None, (math.ceil(needed * width), math.ceil(needed * height)))


def _upright(image: Image.Image) -> Image.Transpose | None:
    # Damaged EXIF data are treated as missing.
    with suppress(Exception):
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def _depth(image: Image.Image) -> str | None:
    if image.mode == "F":
        return "float"
    if image.mode.startswith("I;16"):
        return "sixteen-bit"
    if image.mode == "I" and np.asarray(image).max() > 255:
        return "sixteen-bit"
    return None


def _to_eight_bits(image: Image.Image) -> Image.Image:
    levels = np.asarray(image)
    if image.mode == "F":
        finite = np.nan_to_num(levels, nan=0.0)
        eight_bit = finite * 255.0 if finite.max() <= 1.0 else finite
    else:
        eight_bit = levels * (255.0 / 65535.0)
    grey = Image.fromarray(np.rint(np.clip(eight_bit, 0.0, 255.0)).astype(np.uint8))
    transparent_level = image.info.get("transparency")
    if isinstance(transparent_level, int):
        alpha = np.where(levels == transparent_level, 0, 255).astype(np.uint8)
        return Image.merge("LA", (grey, Image.fromarray(alpha)))
    return grey


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    # For some damaged palettes Pillow raises; Keras never checks.
    with suppress(ValueError):
        return bool(np.asarray(_with_alpha(image).getchannel("A")).min() < 255)
    return False


def _with_alpha(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow converts premultiplied grey to LA only
        image = image.convert("LA")
    return image.convert("RGBA")


def _on_background(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    background = Image.new("RGBA", image.size, (*colour, 255))
    return Image.alpha_composite(background, _with_alpha(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    info: dict[Any, Any] = image.info
    if isinstance(info.get("transparency"), bytes):
        # Pillow would warn that converting drops the alpha of a palette, which is intended.
        image = image.copy()
        del image.info["transparency"]
    try:
        return image.convert("RGB")
    except ValueError as exc:
        raise UnreadableError(Reason.UNSUPPORTED) from exc


def _fit(image: Image.Image, preset: Preset, size: tuple[int, int]) -> Image.Image:
    height, width = size
    resample = _RESAMPLE[preset.resample]
    if preset.fit == "crop":
        # Resample the centre directly, rather than resizing and then cropping.
        scale = preset.crop_share * min(image.width / width, image.height / height)
        left = (image.width - width * scale) / 2
        upper = (image.height - height * scale) / 2
        box = (left, upper, left + width * scale, upper + height * scale)
        return image.resize((width, height), resample, box=box)
    if image.size == (width, height):
        return image
    return image.resize((width, height), resample)
