"""The extra columns of rows (``--keep``), as columns of a table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import StoreError
from sparsefeat.store.format import Utf8

Values: TypeAlias = npt.NDArray[Any] | Any
"""A part's values of a column: int64, float64, bool, or text (Arrow's, if that is used)."""

MAX_COLUMNS: Final = 256
_INT64: Final = range(-(1 << 63), 1 << 63)
_EXACT: Final = 1 << 53  # integers up to here are exact as float64


class Kept:
    """Columns that not all rows have, part by part; only values that exist take memory.

    A column is int64 or bool if all rows have such a value, float64 if all values are numbers
    (NaN where there is none), else text ("" where there is none).

    Parameters
    ----------
    in_arrow
        Whether to hold text in Arrow's arrays.
    """

    def __init__(self, *, in_arrow: bool) -> None:
        self._in_arrow = in_arrow
        self._lengths: list[int] = []
        self._pieces: dict[str, dict[int, Values]] = {}

    def pieces(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Values]:
        """Give the values of some rows by column; may be called in several threads."""
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: self._compact([row.get(name) for row in rows]) for name in names}

    def append(self, pieces: Mapping[str, Values], n_rows: int) -> None:
        """Append the rows of a part.

        Raises
        ------
        StoreError
            There are more columns than fit into a table.
        """
        for name, values in pieces.items():
            self._pieces.setdefault(name, {})[len(self._lengths)] = values
        self._lengths.append(n_rows)
        if len(self._pieces) > MAX_COLUMNS:
            raise StoreError(
                f"the rows of the store keep more than {MAX_COLUMNS} different columns, expected "
                "fewer: read the parts one by one"
            )

    def columns(self) -> Iterator[tuple[str, npt.NDArray[Any] | list[Values]]]:
        """Give each column, in the order of first occurrence; a column of text in pieces."""
        for name in [*self._pieces]:
            pieces = self._pieces.pop(name)
            kinds = {_kind(values) for values in pieces.values()}
            is_everywhere = len(pieces) == sum(map(bool, self._lengths))
            if len(kinds) == 1 and kinds <= {"i", "b"} and is_everywhere:
                yield name, np.concatenate([*pieces.values()])
            elif kinds <= {"i", "f"} and all(map(_is_exact, pieces.values())):
                yield (
                    name,
                    np.concatenate(
                        [
                            pieces[n].astype(np.float64) if n in pieces else np.full(length, np.nan)
                            for n, length in enumerate(self._lengths)
                        ]
                    ),
                )
            else:
                yield (
                    name,
                    [
                        self._texts(pieces[n]) if n in pieces else self._text([""] * length)
                        for n, length in enumerate(self._lengths)
                    ],
                )

    def _compact(self, values: list[Any]) -> Values:
        kinds = {type(value) for value in values}
        if kinds == {bool}:
            return np.array(values, np.bool_)
        numbers = kinds <= {int, float, type(None)}
        integers = [value for value in values if type(value) is int]
        if kinds == {int} and min(integers) in _INT64 and max(integers) in _INT64:
            return np.array(values, np.int64)
        if numbers and all(abs(value) <= _EXACT for value in integers):
            return np.array([np.nan if value is None else value for value in values], np.float64)
        return self._text([_as_text(value) for value in values])

    def _texts(self, values: Values) -> Values:
        return self._text([*map(_as_text, values.tolist())]) if _kind(values) != "t" else values

    def _text(self, texts: list[str]) -> Values:
        array = np.empty(len(texts), object)
        array[:] = texts
        return arrow_texts(Utf8.of(array)) if self._in_arrow else array


def _kind(values: Values) -> str:
    return values.dtype.kind if isinstance(values, np.ndarray) and values.dtype != object else "t"


def _is_exact(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind == "f" or bool(((values >= -_EXACT) & (values <= _EXACT)).all())


def _as_text(value: bool | int | float | str | None) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def arrow_texts(texts: Utf8) -> Any:
    """Make an Arrow array of texts, without copying them."""
    import pyarrow

    offsets, data = map(pyarrow.py_buffer, texts)
    return pyarrow.LargeStringArray.from_buffers(len(texts.offsets) - 1, offsets, data)
