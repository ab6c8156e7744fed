"""A store's tables: rows, and images that gave none."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store.format import overlapped
from sparsefeat.store.part import COLUMNS, INDEX, REJECTED, ROWS, Part, full_path
from sparsefeat.system import importing

if TYPE_CHECKING:
    import pandas as pd

_IDENTITY = ("root", "path", "bytes", "mtime_ns")
Lines = npt.NDArray[np.int64]


def read_frame(
    parts: Iterable[Part], table: str, lines: Sequence[Lines | None], at_once: int
) -> "pd.DataFrame":
    """Read lines of one table of all parts, indexed by row id; None for all of a part's."""
    with importing("pandas"):
        import pandas as pd

    columns: dict[str, list[npt.NDArray[np.generic]]] = {
        column: [] for column in (INDEX, *COLUMNS[table])
    }

    def read(part: Part) -> list[npt.NDArray[Any]]:
        return [part.column(table, column) for column in columns]

    for found, some in zip(overlapped(read, parts, at_once), lines, strict=True):
        for values, all_values in zip(found, columns.values(), strict=True):
            all_values.append(values if some is None else values[some])
    joined = {
        column: np.concatenate(values) if values else np.empty(0, object)
        for column, values in columns.items()
    }
    index = pd.Index(joined.pop(INDEX), dtype=object)
    return pd.DataFrame(
        {
            column: pd.Series(values, index, "int64" if COLUMNS[table][column] is int else object)
            for column, values in joined.items()
        },
        index=index,
    )


def standing_rejects(parts: Sequence[Part]) -> list[Lines]:
    """Give for each part the lines of its rejects that stand, ascending.

    An image that gave a row, in whatever part, is no reject; of several rejects of the same
    image the last one stands. An image is the same if its place, size and time are.
    """
    last: dict[tuple[object, ...], tuple[int, int]] = {}
    for number, part in enumerate(parts):
        for line, identity in enumerate(_identities(part, REJECTED, None)):
            last[identity] = number, line
    if last:
        times = np.array([identity[2] for identity in last], np.int64)
        read = overlapped(
            lambda part: part.column(ROWS, "mtime_ns"), parts, parts[0].storage.reads_at_once
        )
        for part, stored in zip(parts, read, strict=True):
            # Most images were never rejected: only those of the same time are looked at.
            rows = np.flatnonzero(np.isin(stored, times))
            rows = rows if part.kept is None else np.intersect1d(rows, part.kept)
            if len(rows):
                for identity in _identities(part, ROWS, rows):
                    last.pop(identity, None)
    standing: list[list[int]] = [[] for _ in parts]
    for number, line in sorted(last.values()):
        standing[number].append(line)
    return [np.array(lines, np.int64) for lines in standing]


def _identities(part: Part, table: str, lines: Lines | None) -> list[tuple[object, ...]]:
    if table == REJECTED and not part.header.rejected:
        return []
    columns = [part.column(table, column) for column in _IDENTITY]
    some = (column if lines is None else column[lines] for column in columns)
    return [
        (full_path(root, path), size, mtime_ns)
        for root, path, size, mtime_ns in zip(*(each.tolist() for each in some), strict=True)
    ]
