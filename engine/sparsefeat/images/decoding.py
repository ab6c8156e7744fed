"""Decode an image to 8-bit RGB pixels of the model's size, or return a reject with its reason."""

import hashlib
import io
import operator
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sparsefeat.errors import InputError
from sparsefeat.images.folders import check_root
from sparsefeat.images.listing import find_image
from sparsefeat.images.pillow import (
    MAX_PIXELS,
    check_extent,
    open_image,
    pillow_errors,
    render,
    stored_size,
)
from sparsefeat.images.presets import Preset
from sparsefeat.images.presets import preset as named_preset
from sparsefeat.images.reading import read_file
from sparsefeat.images.source import Reason, Source, UnreadableError, decode_path, encode_path
from sparsefeat.types import ReadFailure, Reject, Row

# Memory that a decoder may need: those of progressive JPEG and WebP hold each pixel several times.
_DECODER_BYTES_PER_PIXEL = 16
_UNKNOWN_PIXELS = 24_000_000  # assumed for an image that could not be opened

_Content = bytes | Image.Image | npt.NDArray[np.uint8]

ImageInput = Source | str | os.PathLike[str] | _Content
"""The types of images that `decode` accepts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """A decoded image.

    Attributes
    ----------
    row
        The record of the image.
    pixels
        uint8 (height, width, 3), RGB, C-contiguous; may be read-only.
    notes
        The quirks of the image: keys of `sparsefeat.images.QUIRKS`.
    """

    row: Row
    pixels: npt.NDArray[np.uint8]
    notes: frozenset[str]


def decode(
    image: ImageInput,
    preset: str | Preset,
    size: tuple[int, int],
    *,
    name: str = "",
    max_pixels: int = MAX_PIXELS,
) -> Decoded | Reject:
    """Decode one image and resize it to the model's size; thread-safe.

    Parameters
    ----------
    image
        A listed file, a path, the bytes of a file, a PIL image, or a uint8 array (H, W),
        (H, W, 1), (H, W, 3) in RGB, or (H, W, 4) in RGBA.
    preset
        One of `sparsefeat.images.PRESETS`, or its name.
    size
        (height, width) in pixels.
    name
        The path to record for an image without a path; it is percent-encoded.
    max_pixels
        An image with more pixels is rejected before it is decoded.

    Returns
    -------
    Decoded, Reject or ReadFailure
        A Reject if the image itself is faulty; a ReadFailure if it could not be read this time.

    Raises
    ------
    InputError
        An argument is invalid: an array of another type or shape, a size that is not positive, an
        unknown preset.
    SourceError
        The root folder of a listed file can't be read any more.

    Notes
    -----
    The SHA-256 of a file is that of its bytes; of an array or a PIL image it is that of its pixels.
    Pillow may still warn of damaged metadata, and of some GIFs with more than 89 million pixels. If
    warnings are errors, such an image is a reject.

    >>> from sparsefeat.images.presets import PRESETS
    >>> decoded = decode(np.zeros((2, 3, 3), np.uint8), PRESETS["keras"], (32, 32))
    >>> decoded.pixels.shape, decoded.row.width, decoded.row.height
    ((32, 32, 3), 3, 2)
    """
    size, chosen = validate_size(size), named_preset(preset)
    source = _source(image, name)
    if isinstance(source, Reject):
        return source
    facts: dict[str, Any] = {
        "path": source.path,
        "root": source.root,
        "bytes": source.bytes,
        "mtime_ns": source.mtime_ns,
        "sha256": "",
    }
    try:
        with pillow_errors():
            content = _content(image, source, max_pixels)
            raw = _raw(content)
            facts |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
            opened = _opened(content, max_pixels)
            facts["width"], facts["height"] = stored_size(opened)
            pixels, notes = render(opened, chosen, size)
    except UnreadableError as exc:
        known = {key: facts[key] for key in ("path", "root", "bytes", "mtime_ns", "sha256")}
        if exc.reason in (Reason.CORRUPT, Reason.TRUNCATED) and _is_memory_short(facts):
            exc = UnreadableError(Reason.NO_MEMORY)
        if not exc.reason.of_system:
            return Reject(**known, reason=str(exc))
        if source.root:
            check_root(decode_path(source.root))
        return ReadFailure(**known, reason=str(exc))
    row = Row(**facts, label=source.label, format=opened.format or "array", extra=source.extra)
    return Decoded(row=row, pixels=pixels, notes=notes)


def _is_memory_short(facts: dict[str, Any]) -> bool:
    """Return whether there is too little memory, which some decoders report as broken data."""
    pixels = facts["width"] * facts["height"] if "height" in facts else _UNKNOWN_PIXELS
    try:
        np.empty(pixels * _DECODER_BYTES_PER_PIXEL, np.uint8)  # reserves addresses, not memory
    except MemoryError:
        return True
    return False


def validate_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) as integers; raise InputError unless both are positive."""
    try:
        height, width = (operator.index(extent) for extent in size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise InputError(f"got size {size!r}, expected (height, width), two positive integers")
    return height, width


def _source(image: ImageInput, name: str) -> Source | Reject:
    if isinstance(image, Source):
        return image
    if isinstance(image, str | os.PathLike):
        return find_image(image)
    if isinstance(image, np.ndarray):
        _check_array(image)
    elif not isinstance(image, bytes | Image.Image):
        raise InputError(
            f"got a {type(image).__name__} as an image,"
            " expected a path, bytes, a PIL image or a uint8 array"
        )
    path = encode_path(name)
    return Source(file="", root="", path=path, label="", bytes=0, mtime_ns=0)


def _check_array(array: npt.NDArray[Any]) -> None:
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    ):
        raise InputError(
            f"got an array of {array.dtype} {array.shape} as an image, expected uint8 (H, W),"
            " (H, W, 1), (H, W, 3) or (H, W, 4): scale it to 0..255 and convert it"
        )


def _content(image: ImageInput, source: Source, max_pixels: int) -> _Content:
    if isinstance(image, Source | str | os.PathLike):
        return read_file(source, max_pixels)
    if isinstance(image, Image.Image):
        check_extent(image.size, max_pixels)
    if isinstance(image, bytes) and not image:
        raise UnreadableError(Reason.EMPTY)
    return image


def _raw(content: _Content) -> bytes:
    return content if isinstance(content, bytes) else content.tobytes()


def _opened(content: _Content, max_pixels: int) -> Image.Image:
    if isinstance(content, bytes):
        return open_image(io.BytesIO(content), max_pixels)
    if isinstance(content, Image.Image):
        return content
    height, width = content.shape[:2]
    check_extent((width, height), max_pixels)
    return Image.fromarray(content[..., 0] if content.shape[2:] == (1,) else content)
