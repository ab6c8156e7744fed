"""The two tables of a part: rows and rejects."""

from collections.abc import Sequence
from dataclasses import fields
from hashlib import blake2b
from typing import Final

import numpy as np

from sparsefeat.errors import InputError
from sparsefeat.store.format import TEXT_BYTES, read_extra
from sparsefeat.system import one_line
from sparsefeat.types import MAX_COLUMNS, NO_EXTRA, Reject, Row

INDEX: Final = "_index"
EXTRA: Final = "extra"
"""The column with a JSON object for each row; a part without extra columns lacks it."""
COLUMNS: Final = {
    table: {field.name: field.type for field in fields(record)}
    for table, record in (("obs", Row), ("uns/sparsefeat/rejected", Reject))
}
ROWS, REJECTED = COLUMNS


def row_id(record: Row | Reject) -> str:
    """Name an image by path, size, time of change and digest: 32 hexadecimal digits.

    Examples
    --------
    >>> row_id(Reject(path="a.jpg", root="/", bytes=3, mtime_ns=0, sha256="", reason="empty"))
    '863013a4c66bc7c4c1996ea389c22135'
    """
    identity = f"{record.path}\0{record.bytes}\0{record.mtime_ns}\0{record.sha256}"
    return blake2b(identity.encode(), digest_size=16).hexdigest()


def full_path(root: str, path: str) -> str:
    """Give the full path of an image, whichever folder above it is its root."""
    return f"{root.rstrip('/')}/{path}"


def check_records(records: Sequence[Row] | Sequence[Reject]) -> None:
    """Check that the records can be written, before writing any.

    Raises
    ------
    InputError
        A text has surrogates, that is bytes that weren't UTF-8, or is longer than readers accept;
        or a number is not an int64; or `extra` is not a JSON object of columns.
    """
    for record in records:
        if isinstance(record, Row) and record.extra != NO_EXTRA:
            try:
                read_extra(record.extra)
            except ValueError as exc:
                raise InputError(
                    f"{exc} of {one_line(record.path)!r}, expected a JSON object of at most "
                    f"{MAX_COLUMNS} columns, whose values are text, numbers, true, false or null"
                ) from exc
        for field in fields(record):
            value = getattr(record, field.name)
            try:
                if isinstance(value, str):
                    if len(value.encode()) > TEXT_BYTES:
                        raise OverflowError
                else:
                    np.int64(value)
            except (UnicodeEncodeError, OverflowError) as exc:
                raise InputError(
                    f"{field.name} of {one_line(record.path)!r} is {one_line(str(value))!r}, "
                    f"expected valid text of at most {TEXT_BYTES} bytes or an int64: "
                    "percent-encode the bytes that aren't UTF-8"
                ) from exc
