"""Read tables of paths, Parquet or CSV with one image per row, as a stream."""

import csv
import io
import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import IO, Any, Final

from sparsefeat.errors import SourceError
from sparsefeat.images.columns import LABEL_COLUMNS, Columns
from sparsefeat.images.parquet import (
    class_names,
    fact_columns,
    open_parquet,
    parquet_errors,
    with_names,
)
from sparsefeat.images.path_list import ADDRESS, text_encoding
from sparsefeat.images.source import DamagedContainerError, open_container
from sparsefeat.system import one_line

PATH_COLUMNS: Final = (
    *("path", "file", "file_path", "filepath", "file_name", "filename"),
    *("image_path", "image", "img", "url", "uri", "key"),
)
"""The columns that may hold the paths if no column is named."""

_KINDS: Final = (".parquet", ".csv", ".tsv")
_TOGETHER: Final = 1024  # rows read at a time
_BUFFER: Final = 1 << 20
_DELIMITERS: Final = ",;\t"
_INTEGER: Final = re.compile(r"-?[1-9][0-9]{0,17}|0", re.ASCII)
_DECIMAL: Final = re.compile(
    r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,30}(?:[eE][+-]?[0-9]{1,3})?", re.ASCII
)

Entry = tuple[str, Mapping[str, object]]
"""A path, and the requested columns of its row."""


def is_manifest(files_from: object) -> bool:
    """Return whether a list of images is a table, by its name.

    Examples
    --------
    >>> is_manifest("s3://bucket/list.PARQUET"), is_manifest("list.txt")
    (True, False)
    """
    return isinstance(files_from, str | os.PathLike) and os.fsdecode(files_from).lower().endswith(
        _KINDS
    )


def read_manifest(
    file: str, columns: Columns, path_column: str | None
) -> Generator[Entry, None, None]:
    """Yield the rows of a table that have a path.

    Raises
    ------
    SourceError
        The file can't be read, is not a table, or lacks a requested column.
    """
    if ADDRESS.match(file):
        raise SourceError(
            f"got {file!r} as a list of images: it is a URL, and sparsefeat does not download; "
            "give the path of a file"
        )
    read = _parquet_rows if file.lower().endswith(".parquet") else _csv_rows
    try:
        with open_container(file) as opened, closing(read(opened, file, columns, path_column)) as r:
            yield from r
    except SourceError:
        raise
    except OSError as exc:
        raise SourceError(
            f"got {file!r} as a list of images, expected a table with a path in each row: "
            f"{exc.strerror or exc}; check the path"
        ) from exc
    except DamagedContainerError as exc:
        raise SourceError(
            f"{file!r} can't be read as Parquet ({one_line(str(exc))}), expected a table with a "
            "path in each row: write it again"
        ) from exc


def _parquet_rows(
    opened: IO[bytes], file: str, columns: Columns, path_column: str | None
) -> Generator[Entry, None, None]:
    with parquet_errors():
        table = open_parquet(opened, _BUFFER)
        schema = table.schema_arrow
        fitting = [field.name for field in schema if _is_text(field.type)]
        path = _path_column(file, fitting, schema.names, path_column)
        facts = fact_columns(schema, columns)
        _require(file, [*columns.named], schema.names)
        classes = class_names(schema)
        in_struct = not _is_plain_text(schema.field(path).type)
        read = [f"{path}.path" if in_struct else path, *facts]
        for batch in table.iter_batches(_TOGETHER, columns=list(dict.fromkeys(read))):
            for row in batch.to_pylist():
                entry = row[path]
                entry = (entry or {}).get("path") if in_struct else entry
                if entry:
                    yield entry, with_names({name: row[name] for name in facts}, classes)


def _is_plain_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_text(kind: Any) -> bool:
    """Return whether a type is text, or a struct with a path, as in ``datasets``."""
    import pyarrow as pa

    if pa.types.is_struct(kind) and (index := kind.get_field_index("path")) >= 0:
        kind = kind.field(index).type
    return _is_plain_text(kind)


def _csv_rows(
    opened: IO[bytes], file: str, columns: Columns, path_column: str | None
) -> Generator[Entry, None, None]:
    encoding, length = text_encoding(opened.read(4))
    opened.seek(length)
    text = io.TextIOWrapper(opened, encoding, errors="surrogateescape", newline="")
    try:
        yield from _lines(text, file, columns, path_column)
    except (csv.Error, UnicodeError) as exc:
        raise SourceError(
            f"{file!r} can't be read as CSV ({exc}), expected UTF-8 with the columns' names in "
            "the first line: write it again"
        ) from exc
    finally:
        text.detach()


def _lines(
    text: io.TextIOWrapper, file: str, columns: Columns, path_column: str | None
) -> Iterator[Entry]:
    bounded = _bounded_lines(text)
    first = next(bounded, "")
    delimiter = max(_DELIMITERS, key=first.count)
    header = next(csv.reader([first], delimiter=delimiter), [])
    names = [name.strip() for name in header]
    if not any(names):
        if first:
            raise SourceError(f"{file!r} has an empty first line, expected the columns' names")
        return
    path = names.index(_path_column(file, names, names, path_column))
    _require(file, [*columns.named], names)
    labels = [] if columns.label else [name for name in LABEL_COLUMNS if name in names][:1]
    wanted = {name: names.index(name) for name in (*columns.named, *labels)}
    lines = csv.reader(bounded, delimiter=delimiter)
    try:
        for row in lines:
            if len(row) > path and row[path]:
                row += [""] * (len(names) - len(row))
                yield row[path], {name: _value(row[index]) for name, index in wanted.items()}
    except csv.Error as exc:
        raise csv.Error(f"line {lines.line_num + 1}: {exc}") from exc


def _bounded_lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_BUFFER):
        if len(line) == _BUFFER and not line.endswith("\n"):
            raise csv.Error(f"a line has more than {_BUFFER:,} characters")
        yield line


def _value(text: str) -> str | int | float | None:
    """Convert text to a number if it is one without leading zeros."""
    if not text:
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _path_column(file: str, fitting: list[str], names: list[str], named: str | None) -> str:
    """Choose the column of paths: the named one, or the first with a usual name."""
    if named is not None:
        _require(file, [named], names)
        if named not in fitting:
            raise SourceError(
                f"column {named!r} of {file!r} is not text, expected paths: name another column"
            )
        return named
    known = {name.lower(): name for name in reversed(fitting)}
    found = next((known[name] for name in PATH_COLUMNS if name in known), None)
    if found is None:
        shown = one_line(", ".join(names), most=200)
        raise SourceError(
            f"{file!r} has the columns {shown}, expected one with a usual name for paths, such as "
            "path, file_name or url: name the column of paths with --path-column (path_column)"
        )
    return found


def _require(file: str, wanted: list[str], names: list[str]) -> None:
    for name in wanted:
        if name not in names:
            raise SourceError(
                f"{file!r} has no column {name!r}, only {one_line(', '.join(names), most=200)}: "
                "check the name"
            )
