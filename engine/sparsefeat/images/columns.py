"""The label of an image and the columns stored with it, from a table or a sample."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Final

from sparsefeat.errors import InputError
from sparsefeat.images.source import LONGEST_LABEL, encode_path
from sparsefeat.types import (
    LONGEST_COLUMN_NAME,
    MAX_COLUMNS,
    NO_EXTRA,
    RESERVED_COLUMNS,
    is_column_name,
)

LABEL_COLUMNS: Final = ("label", "labels", "class", "cls", "category", "class_name")
"""The columns that may hold the label if no column is named."""

_LONGEST_VALUE: Final = 4000  # bytes of JSON
_MAX_BYTES: Final = 16_000  # of all extra columns of a row
_INT64: Final = range(-(2**63), 2**63)


class Columns:
    """Which columns become the label of an image, and which are stored with it.

    Parameters
    ----------
    label
        The column of the label; by default the first of `LABEL_COLUMNS` that exists.
    keep
        Names of columns to store, separated by commas or as a list, in their order in the store.

    Raises
    ------
    InputError
        A name is that of a column that every store has, or can't be stored.
    """

    def __init__(self, label: str | None = None, keep: str | Iterable[str] = ()) -> None:
        names = keep.split(",") if isinstance(keep, str) else [*keep]
        names = [name.strip() for name in names] if isinstance(keep, str) else names
        self.label = label
        self.keep = tuple(dict.fromkeys(name for name in names if name != ""))
        for name in self.keep:
            _check_name(name)
        if label is not None and (not isinstance(label, str) or not label.strip()):
            raise InputError(f"got label column {label!r}, expected the name of a column")
        if len(self.keep) > MAX_COLUMNS:
            raise InputError(
                f"got {len(self.keep)} columns to keep, expected at most {MAX_COLUMNS}: keep "
                "those that you need, and join the others by row id"
            )
        self._longest = min(
            _LONGEST_VALUE, _MAX_BYTES // max(1, len(self.keep)) - LONGEST_COLUMN_NAME - 6
        )
        self._found: set[str] = set()

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that the user named."""
        return tuple(dict.fromkeys([*self.keep, *([self.label] if self.label else [])]))

    @property
    def unmatched(self) -> tuple[tuple[str, str], ...]:
        """The columns that no image had so far, as (option, column)."""
        label = [("label-column", self.label)] if self.label else []
        named = [*label, *(("keep", name) for name in self.keep)]
        return tuple(pair for pair in named if pair[1] not in self._found)

    def label_of(self, values: Mapping[str, object]) -> str | None:
        """Return the label from the columns of an image; None if none of them holds a label."""
        wanted = LABEL_COLUMNS if self.label is None else (self.label,)
        for name in wanted:
            if (value := plain(values.get(name))) is None or value == "":
                continue
            self._found.add(name)
            return encode_path(str(value))[:LONGEST_LABEL]
        return None

    def extra(self, values: Mapping[str, object]) -> str:
        """Return the extra columns of an image as a JSON object.

        Text is cut to 4,000 bytes or, with many columns, to an equal share of 16,000 bytes. Values
        other than numbers, booleans and text are stored as their JSON text.
        """
        stored = {}
        for name in self.keep:
            if (value := plain(values.get(name))) is not None:
                self._found.add(name)
                stored[name] = _cut(value, self._longest) if isinstance(value, str) else value
        return _json(stored) if stored else NO_EXTRA


def plain(value: object) -> str | int | float | bool | None:
    """Convert a value to a type that can be stored; None for a missing value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value in _INT64 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, bytes):
        return _valid(value.decode(errors="replace"))
    if isinstance(value, list | tuple | dict):
        try:
            value = _json(value)
        except (ValueError, RecursionError):  # it contains itself, or is nested too deeply
            return None
    return _valid(str(value))


def _valid(text: str) -> str:
    """Replace NUL and lone surrogates by U+FFFD, so that the text can be stored anywhere."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _cut(text: str, most: int) -> str:
    """Cut text so that its JSON takes at most `most` bytes."""
    text = text[:most]
    while (size := len(_json(text).encode())) > most:
        text = text[: len(text) * most // size - 1]
    return text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise InputError(f"got a {type(name).__name__} among the columns to keep, expected names")
    if name in RESERVED_COLUMNS:
        raise InputError(
            f"got {name!r} as a column to keep, expected another name: every store has a column "
            "of that name"
        )
    if not is_column_name(name):
        raise InputError(
            f"got {name!r:.120} as a column to keep, expected a name of at most "
            f"{LONGEST_COLUMN_NAME} bytes, without slashes and control characters"
        )
