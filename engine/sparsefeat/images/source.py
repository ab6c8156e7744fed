"""One file found, how its name is written down, and why it could not become a row."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Self

from sparsefeat.errors import InputError
from sparsefeat.storage import is_url, open_object
from sparsefeat.types import NOTHING_KEPT, ReadFailure, Reject

Content = bytes  # a field is called so
_UNSAFE = re.compile("[%\ud800-\udfff]")
_LONGEST_PATH = 5000  # characters of a reject's
_ESCAPE = re.compile("%(?:25|u[0-9A-F]{4}|[89A-F][0-9A-F])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file that may hold an image, as it was when it was listed.

    `root`, `path` and `label` are written with `encode_path`.
    """

    file: str  # what to open, absolute
    root: str  # absolute folder that `path` is relative to
    path: str  # with forward slashes
    label: str  # name of the parent folder
    bytes: int  # size of the file
    mtime_ns: int  # as `storable_mtime` gives it
    content: Content | None = field(default=None, repr=False)  # what was read already
    member: "Member | None" = None  # where it lies in `file`, if that holds others
    extra: str = NOTHING_KEPT  # as `Row` has it

    @property
    def is_whole(self) -> bool:
        """Whether it is all of `file`, not read yet, and no image in it."""
        return self.member is None and self.content is None

    @property
    def is_file(self) -> bool:
        """Whether it is a file of its own on a disk, that others can open as well."""
        return self.is_whole and not is_url(self.file)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """Where an image lies in a file that holds others."""

    file: tuple[int, int]  # size and time of change of that file, as it was listed
    offset: int  # of its bytes; of its header in a zip; the row group in a Parquet file
    length: int  # of its bytes as they are stored; the row in its row group
    crc32: int = 0  # in a zip
    deflated: bool = False
    column: str = ""  # in a Parquet file

    @classmethod
    def of(cls, container: Source, **where: Any) -> Self:
        """Say where an image lies in a file that was listed."""
        return cls(file=(container.bytes, container.mtime_ns), **where)


def member_source(
    container: Source,
    name: str,
    size: int,
    *,
    member: Member | None = None,
    label: str | None = None,
    extra: str = NOTHING_KEPT,
) -> Source:
    """Give an image in a file that holds others; its label is its folder there, if it has one.

    What is kept of it is what is kept of that file, where it has nothing of its own.
    """
    folder = name.rpartition("/")[0].rpartition("/")[2]
    return Source(
        file=container.file,
        root=container.root,
        path=f"{container.path}/{encode_path(name)}",
        label=(label or encode_path(folder) or container.label)[:LONGEST_LABEL],
        bytes=min(size, 2**63 - 1),
        mtime_ns=0,  # an archive says when it was made, not when an image was
        member=member,
        extra=container.extra if extra == NOTHING_KEPT else extra,
    )


class DamagedContainerError(Exception):
    """What is left of a file that holds others can't be listed; never leaves this package."""


class NoImagesError(DamagedContainerError):
    """It is a table that has no images in it."""


@contextmanager
def open_container(
    path: str, expected: tuple[int, int] | None = None, *, read_ahead: int = 8 << 20
) -> Iterator[IO[bytes]]:
    """Open a file that holds others, on a disk or in a bucket, to be read at any place.

    `expected` are its size and time of change; of a bucket's, so many bytes are read at once.

    Raises
    ------
    UnreadableError
        Its size and time are not the `expected` ones any more.
    OSError
        The system or the server refused.
    """
    if is_url(path):
        size = None if expected is None else expected[0]
        with open_object(path, size=size, read_ahead=read_ahead) as stream:
            yield stream
        return
    with Path(path).open("rb") as file:
        if expected is not None:
            check_unchanged(os.fstat(file.fileno()), expected)
        yield file


def storable_mtime(status: os.stat_result) -> int:
    """Give a file's time of change in nanoseconds since 1970, as an int64.

    What lies before 1677 or after 2262 becomes the smallest or the largest int64: an odd date,
    such as a camera with an empty battery writes, is no reason to leave an image out.
    """
    return max(-(2**63), min(status.st_mtime_ns, 2**63 - 1))


def encode_path(name: str) -> str:
    r"""Write a file name as valid Unicode text that can be stored anywhere.

    The percent sign becomes ``%25`` and each byte that isn't UTF-8 (which `os.fsdecode`
    keeps as a lone surrogate) becomes ``%`` and its two hexadecimal digits; a lone surrogate
    of any other kind, which only Windows allows in a name, becomes ``%u`` and four. Everything
    else, newlines and decomposed accents included, stays as it is. `decode_path` is the exact
    inverse.

    >>> encode_path("50% off/caf\udce9.jpg")
    '50%25 off/caf%E9.jpg'
    """
    return _UNSAFE.sub(_escape, name)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == ord("%"):
        return "%25"
    return f"%{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"%u{code:04X}"


def decode_path(text: str) -> str:
    r"""Give back the file name that `encode_path` wrote.

    Raises
    ------
    InputError
        If `text` holds a percent sign that `encode_path` would not have written.

    >>> decode_path("50%25 off/caf%E9.jpg") == "50% off/caf\udce9.jpg"
    True
    """
    if "%" in _ESCAPE.sub("", text):
        raise InputError(
            f"got {text!r} as a stored path, expected every '%' to start one of its escapes"
            " (%25, %80 to %FF, %uXXXX): encode a file name with encode_path first"
        )
    return _ESCAPE.sub(_unescape, text)


def _unescape(match: re.Match[str]) -> str:
    escape = match[0]
    if escape == "%25":
        return "%"
    if escape[1] == "u":
        return chr(int(escape[2:], 16))
    return chr(0xDC00 + int(escape[1:], 16))


Found = Source | Reject
Judge = Callable[[str], "Reason | bool"]
"""Whether a member of that name is an image to be listed, or why it is rejected."""

LONGEST_LABEL = 200  # characters
# Above this a file is identified by its header before it is read into memory: a folder of
# images may hold films.
LARGE_BYTES = 64 << 20
# No image takes more than 16 bits for each of four channels, plus metadata.
_BYTES_PER_PIXEL = 8


def max_file_bytes(max_pixels: int) -> int:
    """Bytes beyond which no file is an image of at most `max_pixels`; it is never read."""
    return max_pixels * _BYTES_PER_PIXEL + LARGE_BYTES


def refused(found: Source | Reject, why: "UnreadableError") -> Reject:
    """Give what was listed as a reject, or as a failure where the system is the cause."""
    long = len(found.path) > _LONGEST_PATH
    kind = ReadFailure if why.reason.of_system else Reject
    return kind(
        path=f"{found.path[:_LONGEST_PATH]}..." if long else found.path,
        root=found.root,
        bytes=found.bytes,
        mtime_ns=found.mtime_ns,
        sha256="",
        reason=str(why),
    )


def check_unchanged(status: os.stat_result, listed: tuple[int, int]) -> None:
    """Raise `UnreadableError` unless a file has the size and time that it was listed with."""
    if (status.st_size, storable_mtime(status)) != listed:
        raise UnreadableError(Reason.CHANGED)


class Reason(StrEnum):
    """What a reject's `reason` can say."""

    MISSING = "no such file"
    ADDRESS = "an address, not a file: nothing is downloaded"
    FORBIDDEN = "permission denied"
    FOLDER = "a folder, not a file"
    SPECIAL = "not a regular file"
    READ_FAILED = "the file could not be read"
    CHANGED = "the file changed since it was listed"
    EMPTY = "the file is empty"
    OVERSIZED = "the file is larger than any image within the limit of pixels"
    NO_IMAGE = "not an image"
    NO_HEIF = "a HEIF image (HEIC): to read it, pip install 'sparsefeat[heif]'"
    NO_DECODER = "this Pillow has no decoder for the image: pip install --upgrade pillow"
    HEADER = "the image's header is damaged or of an unknown kind"
    TRUNCATED = "the image is truncated"
    CORRUPT = "the image is corrupt"
    NO_PIXELS = "the image has no pixels"
    TOO_MANY_PIXELS = "the image has more pixels than the limit"
    NO_MEMORY = "not enough memory to decode the image"
    UNSUPPORTED = "the image's kind of pixels is not supported"
    CONTAINER = "the file that holds it is damaged"
    DUPLICATE = "another image in the same file has its name"
    LONG_NAME = "a name that is too long"
    NESTED = "an archive inside of an archive, which is not opened"
    LINK = "a link to a file that isn't read before it"
    OUTSIDE = "a name that leads out of the file that holds it"
    KEY = "a key with nothing, '.' or '..' between two slashes: such objects are not read"
    ENCRYPTED = "encrypted"
    COMPRESSION = "compressed in another way than by deflate"
    WARNED = "the decoder warned, and warnings are errors"

    @property
    def of_system(self) -> bool:
        """Whether another try may go otherwise, with the same image: it is never recorded."""
        return self in _OF_SYSTEM


# What isn't here was concluded from all bytes of a file, or from its size.
_OF_SYSTEM = frozenset(
    {
        Reason.MISSING,
        Reason.ADDRESS,
        Reason.FORBIDDEN,
        Reason.FOLDER,
        Reason.SPECIAL,
        Reason.READ_FAILED,
        Reason.CHANGED,
        Reason.NO_HEIF,
        Reason.NO_DECODER,
        Reason.NO_MEMORY,
        Reason.WARNED,
    }
)


class UnreadableError(Exception):
    """An image that becomes a reject; never leaves this package.

    Its text is the reason, with what the system said of it where that is known.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason


def classify_os_error(error: OSError) -> UnreadableError:
    """Reduce an operating system's refusal to a reason without paths or numbers."""
    if isinstance(error, PermissionError):
        return UnreadableError(Reason.FORBIDDEN)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UnreadableError(Reason.MISSING)
    if isinstance(error, IsADirectoryError):
        return UnreadableError(Reason.FOLDER)
    if error.errno == errno.ENXIO:  # a socket
        return UnreadableError(Reason.SPECIAL)
    if error.errno == errno.ENOMEM:
        return UnreadableError(Reason.NO_MEMORY)
    return UnreadableError(Reason.READ_FAILED, error.strerror or "")
