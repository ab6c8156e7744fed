"""Read lists of paths that other programs wrote."""

import codecs
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sparsefeat.errors import SourceError
from sparsefeat.system import one_line, refuse_empty

# Byte-order marks, with UTF-32 first because its mark starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# URLs that are not downloaded; those of buckets are read.
ADDRESS = re.compile(r"(?!(?:s3|gs|az)://)[A-Za-z][A-Za-z0-9+.-]+://")
# Control characters, which occur in every image and archive but hardly in names; and how many
# characters and entries are checked.
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1f]")
_CHARACTERS, _ENTRIES = 1 << 16, 1000
_ODD = re.compile(r"^[\s\"'].*|.*[\s\"']$", re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3})|\\(.)", re.DOTALL)
_ESCAPED = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))


def read_path_list(files_from: str | os.PathLike[str]) -> list[str]:
    """Read a list of paths, one per line or with NUL after each; "-" is standard input.

    The encoding is UTF-8 with or without a byte-order mark (bytes that are not UTF-8 are preserved,
    as in file names), or UTF-16 or UTF-32 with a mark. Lines end with LF, CR LF or CR; blank lines
    are ignored. A whole line is a path. If no such file exists, but one does after removing the
    surrounding blanks and quotes, and decoding C escapes as ``ls -Q`` and ``git ls-files`` write
    them, that is the path.

    Raises
    ------
    InputError
        `files_from` is empty.
    SourceError
        The list can't be read, does not have the encoding of its byte-order mark, or is not a list
        of paths but an image, an archive or a list of URLs.
    """
    refuse_empty(files_from, "a list of images")
    content = _read(files_from)
    listed = "standard input" if files_from == "-" else repr(os.fspath(files_from))
    encoding, length = text_encoding(content)
    if not length:
        return _entries(os.fsdecode(content), listed)
    errors = "surrogateescape" if encoding == "utf-8" else "strict"
    try:
        text = content[length:].decode(encoding, errors)
    except UnicodeDecodeError as exc:
        raise SourceError(
            f"{listed} starts with the byte-order mark of {encoding.upper()} but has another "
            f"encoding ({exc.reason}), expected a list of paths: write it as UTF-8"
        ) from exc
    return _entries(text, listed)


def text_encoding(start: bytes) -> tuple[str, int]:
    """Return the encoding of a byte-order mark, and the length of the mark."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 0


def _read(files_from: str | os.PathLike[str]) -> bytes:
    if files_from == "-" and sys.stdin is None:
        raise SourceError(
            "standard input is closed, expected a list of paths: name a file, or pipe one in"
        )
    try:
        return sys.stdin.buffer.read() if files_from == "-" else Path(files_from).read_bytes()
    except OSError as exc:
        advice = "check the path"
        if ADDRESS.match(os.fspath(files_from)):
            advice = "it is a URL, and sparsefeat does not download: give the path of a file"
        raise SourceError(
            f"got {os.fspath(files_from)!r} as a list of images, expected a file with"
            f" one path per line: {exc.strerror}; {advice}"
        ) from exc


def _entries(text: str, listed: str) -> list[str]:
    entries = _split(text, listed)
    refuse_addresses(entries, listed)
    return entries


def refuse_addresses(entries: Sequence[str], listed: str) -> None:
    """Raise `SourceError` if there are entries and all of them are addresses."""
    if entries and all(ADDRESS.match(entry) and not os.path.lexists(entry) for entry in entries):
        raise SourceError(
            f"{listed} lists URLs, such as {one_line(entries[0], most=80)}, expected paths of "
            "files: sparsefeat does not download; fetch them first, or write file:///a/b.jpg as "
            "/a/b.jpg"
        )


def _split(text: str, listed: str) -> list[str]:
    if _CONTROL.search(text, 0, _CHARACTERS) and not any(
        os.path.lexists(entry) for entry in re.split(r"[\0\r\n]+", text)[:_ENTRIES] if entry
    ):
        raise SourceError(
            f"{listed} is not text, expected a list of paths, one per line: name the list, not an "
            "image, after --files-from, and write it as UTF-8"
        )
    if "\0" in text:
        entries = [entry for entry in text.split("\0") if entry]
        if sum(len(entry) == 1 for entry in entries) > max(3, len(entries) / 2):
            raise SourceError(
                f"{listed} looks like UTF-16 without a byte-order mark, expected a list of "
                "paths: write it as UTF-8"
            )
        return entries
    lines = text.split("\n" if "\n" in text else "\r")
    return [_entry(line) for line in lines if line.strip()]


def _entry(line: str) -> str:
    if not _ODD.match(line) or os.path.lexists(line):
        return line
    plain = line.removesuffix("\r")
    stripped = line.strip()
    for candidate in (plain, stripped, *_unquoted(stripped)):
        if os.path.lexists(candidate):
            return candidate
    return plain


def _unquoted(line: str) -> list[str]:
    """Return the paths that a line in quotes may stand for."""
    if len(line) < 3 or line[0] != line[-1] or line[0] not in "\"'":
        return []
    inner = line[1:-1]
    escaped = os.fsdecode(_ESCAPE.sub(_byte, os.fsencode(inner)))
    return [inner, inner.replace(line[0] * 2, line[0]), escaped]


def _byte(match: re.Match[bytes]) -> bytes:
    octal, sign = match.groups()
    return bytes([int(octal, 8) & 0xFF if octal else _ESCAPED.get(sign[0], sign[0])])
