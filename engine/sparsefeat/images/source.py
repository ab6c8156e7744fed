"""One file found, and how its name is written down."""

import os
import re
from dataclasses import dataclass

from sparsefeat.errors import InputError

_UNSAFE = re.compile("[%\ud800-\udfff]")
_ESCAPE = re.compile("%(?:25|u[0-9A-F]{4}|[89A-F][0-9A-F])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file that may hold a photograph, as it was when it was listed.

    `root`, `path` and `label` are written with `encode_path`.
    """

    file: str  # what to open, absolute
    root: str  # absolute folder that `path` is relative to
    path: str  # with forward slashes
    label: str  # name of the parent folder
    bytes: int  # size of the file
    mtime_ns: int  # as `storable_mtime` gives it


def storable_mtime(status: os.stat_result) -> int:
    """Give a file's time of change in nanoseconds since 1970, as an int64.

    What lies before 1677 or after 2262 becomes the smallest or the largest int64: an odd date,
    such as a camera with an empty battery writes, is no reason to leave a picture out.
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
