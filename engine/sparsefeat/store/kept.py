"""What of some parts is worth keeping: each picture's row once, and rejects that still stand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sparsefeat.store.part import Part
from sparsefeat.store.tables import INDEX, REJECTED, ROWS, place

_IDENTITY = ("root", "path", "bytes", "mtime_ns")


def first_rows(parts: Sequence[Part]) -> list[npt.NDArray[np.int64]]:
    """Give for each part the rows whose id is in no earlier row, ascending, int64 (n,).

    It takes some 150 bytes of memory per row of the store.
    """
    seen: set[str] = set()
    first = []
    for part in parts:
        rows = []
        for row, row_id in enumerate(part.column(ROWS, INDEX).tolist()):
            if row_id not in seen:
                seen.add(row_id)
                rows.append(row)
        first.append(np.array(rows, np.int64))
    return first


def lost_with(part: Part, parts: Sequence[Part]) -> set[str]:
    """Give the ids of a part's rows that none of some other parts has."""
    ids = set(part.column(ROWS, INDEX).tolist())
    for other in reversed(parts):  # what was written last is the likeliest
        if not ids:
            break
        ids.difference_update(other.column(ROWS, INDEX).tolist())
    return ids


def standing_rejects(parts: Sequence[Part]) -> list[list[int]]:
    """Give for each part the rejects that a reader shows, ascending.

    A picture that gave a row, in whatever part, is no reject; of several rejects of the same
    picture the last one stands. A picture is the same if its place, size and time are.
    """
    last: dict[tuple[object, ...], tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for line, identity in enumerate(_identities(part, REJECTED)):
            last[identity] = number, line
    if last:
        for part in parts:
            for identity in _identities(part, ROWS):
                last.pop(identity, None)
    standing: list[list[int]] = [[] for _ in parts]
    for number, line in sorted(last.values()):
        standing[number].append(line)
    return standing


def _identities(part: Part, table: str) -> list[tuple[object, ...]]:
    if not (part.header.rows if table == ROWS else part.header.rejected):
        return []
    columns = (part.column(table, column).tolist() for column in _IDENTITY)
    return [
        (place(root, path), size, mtime_ns)
        for root, path, size, mtime_ns in zip(*columns, strict=True)
    ]
