"""A store's tables of rows and of rejects, and conditions on them."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.store.dataset.kept import Kept, Values, arrow_texts
from sparsefeat.store.part import COLUMNS, EXTRA, INDEX, REJECTED, ROWS, Part, full_path
from sparsefeat.system import close_matches, importing, overlapped

if TYPE_CHECKING:
    import pandas as pd

_IDENTITY = ("root", "path", "bytes", "mtime_ns")
Lines = npt.NDArray[np.int64]


def read_frame(
    parts: Iterable[tuple[Part, Lines | None]], table: str, at_once: int
) -> "pd.DataFrame":
    """Read lines of one table of parts, indexed by row id; None for all of a part's.

    Kept columns (``--keep``) become columns, too.

    Raises
    ------
    StoreError
        The parts have more extra columns than fit into a table.
    """
    with importing("pandas"):
        import pandas as pd

    text: Any = pd.StringDtype(na_value=np.nan)
    fixed = [column for column in (INDEX, *COLUMNS[table]) if column != EXTRA]
    columns: dict[str, list[Any]] = {column: [] for column in fixed}
    kept = Kept(in_arrow=text.storage == "pyarrow")

    def read(wanted: tuple[Part, Lines | None]) -> tuple[list[Any], dict[str, Values], int]:
        part, some = wanted
        found: list[Any] = []
        for column in fixed:
            if text.storage == "pyarrow" and COLUMNS[table].get(column) is not int:
                values = arrow_texts(part.utf8(table, column))
            else:
                values = part.column(table, column)
            found.append(values if some is None else values.take(some))
        extra = part.extra() if table == ROWS else None
        rows = [] if extra is None else extra if some is None else [extra[n] for n in some]
        return found, kept.pieces(rows), len(found[0])

    def joined(pieces: list[Any]) -> Any:
        if text.storage != "pyarrow":
            return pd.array(np.concatenate([np.empty(0, object), *pieces]), text)
        import pyarrow

        return text.__from_arrow__(pyarrow.chunked_array(pieces, pyarrow.large_string()))

    for found, pieces_kept, n_rows in overlapped(read, parts, at_once):
        for pieces, piece in zip(columns.values(), found, strict=True):
            pieces.append(piece)
        kept.append(pieces_kept, n_rows)
    index = joined(columns.pop(INDEX))
    integers = [name for name, kind in COLUMNS[table].items() if kind is int]
    # In one array: otherwise pandas would join them later, and hold them twice meanwhile.
    numbers = np.empty((len(integers), len(index)), np.int64)
    for line, name in zip(numbers, integers, strict=True):
        np.concatenate([line[:0], *columns.pop(name)], out=line)
    frame = pd.DataFrame(numbers.T, columns=integers, index=pd.Index(index), copy=False)
    for place, name in enumerate(fixed[1:]):
        if name not in integers:
            frame.insert(place, name, joined(columns.pop(name)))
    for name, values in kept.columns():
        frame[name] = joined(values) if isinstance(values, list) else values
    return frame


def with_objects(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Give a table whose text is Python strings, which every AnnData can write."""
    import pandas as pd

    text = [name for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.StringDtype)]
    return frame.astype(dict.fromkeys(text, object)).set_axis(frame.index.astype(object))


def standing_rejects(parts: Collection[Part], at_once: int = 1) -> list[Lines]:
    """Give for each part the lines of its rejects that are still valid, ascending.

    A reject is not valid if its image has a row, in any part, or a later reject. Two images are the
    same if location, size and time are.
    """
    last: dict[tuple[object, ...], tuple[int, int]] = {}
    rejected = overlapped(lambda part: [*_identities(part, REJECTED, None)], parts, at_once)
    for number, identities in enumerate(rejected):
        for line, identity in enumerate(identities):
            last[identity] = number, line
    if last:
        times = np.array([identity[2] for identity in last], np.int64)
        for part, stored in overlapped(_with_times, parts, at_once):
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


def _with_times(part: Part) -> tuple[Part, Lines]:
    return part, part.column(ROWS, "mtime_ns")


def _identities(part: Part, table: str, lines: Lines | None) -> list[tuple[object, ...]]:
    if table == REJECTED and not part.header.rejected:
        return []
    columns = [part.column(table, column) for column in _IDENTITY]
    some = (column if lines is None else column[lines] for column in columns)
    return [
        (full_path(root, path), size, mtime_ns)
        for root, path, size, mtime_ns in zip(*(each.tolist() for each in some), strict=True)
    ]


def matching(obs: "pd.DataFrame", condition: str) -> npt.NDArray[np.int64]:
    """Find the lines of a table that a condition holds for: see `Store.where`."""
    from pandas.errors import UndefinedVariableError

    if not isinstance(condition, str) or not condition.strip():
        raise InputError(
            f"got {condition!r} as a condition, expected text such as 'width > 500' (--where)"
        )
    try:
        # `query` would also accept row numbers and labels as results, so only the mask is
        # evaluated. Without the two dictionaries, @name would be a variable of these functions.
        found = obs.eval(condition, engine="python", local_dict={}, global_dict={})
    except UndefinedVariableError as exc:
        name, columns = str(exc).split("'")[1], ["index", *map(str, obs.columns)]
        likely = close_matches(name, columns) or columns
        _refuse(condition, f"there is no column {name!r}: try {', '.join(likely)}", exc)
    except SyntaxError as exc:
        _refuse(condition, exc.msg, exc)
    except Exception as exc:  # pandas, NumPy, re and Python's parser raise many kinds
        _refuse(condition, f"{type(exc).__name__}: {exc}", exc)
    mask = np.asarray(found)
    if mask.shape != (len(obs),) or mask.dtype != np.bool_:
        _refuse(condition, f"it gives {mask.dtype} of shape {mask.shape}, not True or False a row")
    return np.flatnonzero(mask)


def _refuse(condition: str, why: str, cause: Exception | None = None) -> NoReturn:
    shown = condition if len(condition) <= 100 else f"{condition[:100]}..."
    raise InputError(
        f"{shown!r} is no condition on rows ({' '.join(why.split())}), expected one such as "
        "'width > 500 and label == \"cat\"'"
    ) from cause
