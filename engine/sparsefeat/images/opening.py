"""Opening a picture with Pillow: the one boundary where its errors become reasons.

`open_picture` is `PIL.Image.open` without three things: the warning about large pictures
(ours is a limit, and suppressing warnings isn't thread-safe before Python 3.14), the warning
about missing decoders, and the formats that make Pillow run another program.
"""

import errno
import functools
import importlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from PIL import Image, TiffImagePlugin

from sparsefeat.errors import DependencyError, MissingDependencyError
from sparsefeat.images.unreadable import Reason, UnreadableError, os_refusal
from sparsefeat.system.dependencies import importing

MAX_PIXELS = 178_956_970
"""Pixels above which Pillow, and so Keras, refuses a picture as a decompression bomb."""

# EPS runs Ghostscript on the file, WMF hands it to Windows; the others decode nothing.
_REFUSED_FORMATS = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
# What a HEIF file says it is, first of all: pictures by HEVC, of one kind or another.
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.preinit()  # first, as in PIL.Image.open: the common formats win over lenient ones
    Image.init()
    return tuple(name for name in Image.ID if name not in _REFUSED_FORMATS)


@functools.cache
def _heif() -> str | None:
    """Have Pillow read HEIF (HEIC), by the first of two plug-ins that loads.

    Imported for the first such picture, since nobody else needs it.

    Returns
    -------
    None; or, where neither loads, why the first one that is installed doesn't: empty if none is.
    """
    broken = ""
    for plugin in ("pi_heif", "pillow_heif"):
        try:
            with importing(plugin, f"pip install --force-reinstall {plugin.replace('_', '-')}"):
                module = importlib.import_module(plugin)
                module.libheif_version()  # its library is loaded no earlier
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
    """Turn whatever a decoder raises into an `UnreadableError`.

    Everything is caught because Pillow's decoders let any exception through on broken files:
    ValueError, KeyError, OverflowError, zlib.error and more have been seen.
    """
    try:
        yield
    except UnreadableError:
        raise
    except Exception as exc:
        raise _cause(exc) from exc


def _cause(error: Exception) -> UnreadableError:
    said = str(error).lower()
    # A decoder without memory raises an OSError that only its words tell from others.
    if isinstance(error, MemoryError) or "out of memory" in said:
        return UnreadableError(Reason.NO_MEMORY)
    if isinstance(error, Image.DecompressionBombError):
        return UnreadableError(Reason.TOO_MANY_PIXELS)
    if isinstance(error, Warning):
        return UnreadableError(Reason.WARNED)
    # Decoders' own OSErrors have no number. EINVAL is theirs too: they sought where no file goes.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return os_refusal(error)
    truncated = isinstance(error, EOFError) or "truncated" in said
    return UnreadableError(Reason.TRUNCATED if truncated else Reason.CORRUPT)


def open_picture(stream: IO[bytes], max_pixels: int) -> Image.Image:
    """Identify a picture and read its header.

    Raises
    ------
    UnreadableError
        If no decoder knows it, its header is damaged, or it has no pixels or too many.
    """
    with pillow_errors():
        picture = _identify(stream)
        check_extent(picture.size, max_pixels)
    return picture


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
        except (IndexError, TypeError, struct.error):  # fewer bytes than it looks at
            continue
        if isinstance(answer, str):  # a decoder that isn't compiled in
            missing = UnreadableError(Reason.NO_DECODER)
        if answer is not True:
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            # As in PIL.Image.open: not this format, perhaps another one.
            known = known or accept is not None
    raise missing or UnreadableError(Reason.HEADER if known else Reason.NO_PICTURE)


def check_extent(size: tuple[int, int], max_pixels: int) -> None:
    """Raise `UnreadableError` unless there are between one and `max_pixels` pixels."""
    pixels = size[0] * size[1]
    if pixels < 1:
        raise UnreadableError(Reason.NO_PIXELS)
    if pixels > max_pixels:
        raise UnreadableError(Reason.TOO_MANY_PIXELS)


def stored_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height as the file has them; Pillow reports a turned TIFF as upright."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return picture.tag_v2[256], picture.tag_v2[257]
    return picture.size


def load(picture: Image.Image) -> None:
    """Decode the pixels."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tile:
        # Pillow checks a TIFF for being a bomb once more when it allocates the memory.
        # Allocated here, within our own limit, that check and its warning don't come up.
        picture.im = Image.new(picture.mode, stored_size(picture)).im
    picture.load()
