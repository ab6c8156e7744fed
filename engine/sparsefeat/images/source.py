"""The record of a listed image, the encoding of its name, and the reasons of rejects."""

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
from sparsefeat.types import NO_EXTRA, ReadFailure, Reject

Content = bytes  # because a field is named `bytes`
_UNSAFE = re.compile("[%\ud800-\udfff]")
_LONGEST_PATH = 5000  # characters of the path of a reject
_ESCAPE = re.compile("%(?:25|u[0-9A-F]{4}|[89A-F][0-9A-F])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file, or a member of a container, that may be an image, as it was when it was listed.

    `root`, `path` and `label` are encoded with `encode_path`.
    """

    file: str  # absolute path or URL of the file to open
    root: str  # absolute folder that `path` is relative to
    path: str  # with forward slashes
    label: str  # name of the parent folder
    bytes: int  # size of the file
    mtime_ns: int  # as from `storable_mtime`
    content: Content | None = field(default=None, repr=False)  # its bytes, if already read
    member: "Member | None" = None  # its location in `file`, if that is a container
    extra: str = NO_EXTRA  # as in `Row`

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole `file`, not yet read, and not a member of it."""
        return self.member is None and self.content is None

    @property
    def is_file(self) -> bool:
        """Whether it is a separate file on a disk, which other programs can open."""
        return self.is_whole and not is_url(self.file)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """The location of an image in a container file."""

    file: tuple[int, int]  # size and modification time of the container when it was listed
    offset: int  # of its bytes; in a zip, of its header; in a Parquet file, the row group
    length: int  # of its stored bytes; in a Parquet file, the row in the row group
    crc32: int = 0  # in a zip
    deflated: bool = False
    column: str = ""  # in a Parquet file

    @classmethod
    def of(cls, container: Source, **where: Any) -> Self:
        """Make the location of an image in a listed container."""
        return cls(file=(container.bytes, container.mtime_ns), **where)


def member_source(
    container: Source,
    name: str,
    size: int,
    *,
    member: Member | None = None,
    label: str | None = None,
    extra: str = NO_EXTRA,
) -> Source:
    """Make the record of an image in a container.

    By default its label is its folder in the container, or else the container's label; its extra
    columns are those of the container.
    """
    folder = name.rpartition("/")[0].rpartition("/")[2]
    return Source(
        file=container.file,
        root=container.root,
        path=f"{container.path}/{encode_path(name)}",
        label=(label or encode_path(folder) or container.label)[:LONGEST_LABEL],
        bytes=min(size, 2**63 - 1),
        mtime_ns=0,  # the times in an archive are often those of writing the archive
        member=member,
        extra=container.extra if extra == NO_EXTRA else extra,
    )


class DamagedContainerError(Exception):
    """The rest of a container can't be listed; never leaves this package."""


class NoImagesError(DamagedContainerError):
    """A table has no column of images."""


@contextmanager
def open_container(
    path: str, expected: tuple[int, int] | None = None, *, read_ahead: int = 8 << 20
) -> Iterator[IO[bytes]]:
    """Open a container on a disk or in a bucket for random access.

    `expected` is its size and modification time. From a bucket, at least `read_ahead` bytes are
    read at a time.

    Raises
    ------
    UnreadableError
        The size or modification time differs from `expected`.
    OSError
        The operating system or server refused.
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
    """Return a file's modification time in nanoseconds since 1970, clipped to int64.

    Clipping concerns times before 1677 and after 2262. A wrong date, for example from a camera
    with an empty battery, is no reason to reject an image.
    """
    return max(-(2**63), min(status.st_mtime_ns, 2**63 - 1))


def encode_path(name: str) -> str:
    r"""Encode a file name as valid Unicode text that can be stored anywhere.

    The percent sign becomes ``%25``. Each byte that is not UTF-8 (which `os.fsdecode` represents as
    a lone surrogate) becomes ``%`` and two hexadecimal digits. Any other lone surrogate, which only
    Windows allows in a name, becomes ``%u`` and four digits. Everything else is unchanged,
    including newlines and decomposed accents. `decode_path` is the exact inverse.

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
    r"""Return the file name that `encode_path` encoded.

    Raises
    ------
    InputError
        `text` contains a percent sign that `encode_path` would not write.

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
"""A function that returns, for a member's name, whether it is listed, or why it is rejected."""

LONGEST_LABEL = 200  # characters
# A larger file is identified by its header before it is read into memory, because a folder of
# images may contain films.
LARGE_BYTES = 64 << 20
# No image takes more than 16 bits for each of four channels, plus metadata.
_BYTES_PER_PIXEL = 8


def max_file_bytes(max_pixels: int) -> int:
    """Return the largest size in bytes of an image file with at most `max_pixels` pixels."""
    return max_pixels * _BYTES_PER_PIXEL + LARGE_BYTES


def refused(found: Source | Reject, why: "UnreadableError") -> Reject:
    """Make the reject, or the read failure, of a listed image."""
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
    """Raise `UnreadableError` unless a file has the size and modification time of its listing."""
    if (status.st_size, storable_mtime(status)) != listed:
        raise UnreadableError(Reason.CHANGED)


class Reason(StrEnum):
    """The reasons of rejects and read failures."""

    MISSING = "no such file"
    URL = "a URL, not a file: sparsefeat does not download"
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
    UNSUPPORTED = "the image's pixel format is not supported"
    CONTAINER = "the file that holds it is damaged"
    DUPLICATE = "another image in the same file has its name"
    LONG_NAME = "a name that is too long"
    NESTED = "an archive inside of an archive, which is not opened"
    LINK = "a hard link that can't be resolved"
    OUTSIDE = "a name that leads out of the file that holds it"
    KEY = "a key with nothing, '.' or '..' between two slashes: such objects are not read"
    ENCRYPTED = "encrypted"
    COMPRESSION = "compressed by a method other than deflate"
    WARNED = "the decoder warned, and warnings are errors"

    @property
    def of_system(self) -> bool:
        """Whether the same image may be readable later; such a reason is never recorded."""
        return self in _OF_SYSTEM


# All other reasons follow from the bytes of a file or from its size.
_OF_SYSTEM = frozenset(
    {
        Reason.MISSING,
        Reason.URL,
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
    """An image can't be read; never leaves this package.

    Its text is the reason, with details from the operating system if there are any.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason


def classify_os_error(error: OSError) -> UnreadableError:
    """Turn an OSError into a reason, without paths and numbers."""
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
