"""Read images from the rows of Parquet files, as img2dataset and ``datasets`` write them."""

import json
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Final

from sparsefeat.errors import SourceError
from sparsefeat.images.columns import LABEL_COLUMNS, Columns
from sparsefeat.images.source import (
    DamagedContainerError,
    Found,
    Judge,
    Member,
    NoImagesError,
    Reason,
    Source,
    UnreadableError,
    member_source,
    open_container,
    refused,
)
from sparsefeat.system import importing

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE_COLUMNS: Final = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes")
_NAME_COLUMNS: Final = ("path", "file_name", "filename", "file", "key", "__key__", "id", "url")
_MAX_ROW_GROUPS: Final = 2  # row groups in memory
_reading = threading.Lock()


def list_rows(
    source: Source, judge: Judge, columns: Columns | None = None
) -> Generator[Found, None, None]:
    """Yield the images in the rows of a Parquet file.

    Images are in a column of bytes, or of structs with a field ``bytes``; rows without bytes
    (failures of img2dataset) are skipped. A row is named by its path, file name, key or URL, or
    else by its number. `columns` decides which labels and columns images have; labels are class
    names if the file has them.

    Raises
    ------
    DamagedContainerError
        The file is not a Parquet file, or none of its rows has bytes.
    NoImagesError
        The file is a table without a column of bytes.
    """
    columns = columns or Columns()
    with open_container(source.file) as file, parquet_errors():
        table = open_parquet(file)
        schema = table.schema_arrow
        image = _image_column(schema)
        if image is None:
            raise NoImagesError(
                f"none of its columns ({', '.join(schema.names)}) has the bytes of images: name a "
                "table of paths with --files-from"
            )
        name = next((each for each in _NAME_COLUMNS if each in schema.names), None)
        wanted = fact_columns(schema, columns)
        classes = class_names(schema)
        row = n_images = 0
        taken: set[str] = set()
        for group in range(table.num_row_groups):
            images = _images(table, group, image)
            facts = table.read_row_group(group, columns=[*wanted, *([name] if name else [])])
            paths = _paths(images)
            own = paths if name is None else facts[name].to_pylist()
            rows = facts.select(wanted).to_pylist()
            for number, size in enumerate(_lengths(images)):
                if size is not None:
                    called = str(own[number] or "").lstrip("/")
                    if not called or called in taken:
                        called = f"{row:09}"
                    taken.add(called)
                    values = with_names(rows[number], classes) if wanted else {}
                    verdict = judge(called)
                    found = member_source(
                        source,
                        called,
                        size,
                        member=Member.of(source, offset=group, length=number, column=image),
                        label=columns.label_of(values),
                        extra=columns.extra(values),
                    )
                    n_images += 1
                    if verdict is not False:
                        refusal = None if verdict is True else UnreadableError(verdict)
                        yield found if refusal is None else refused(found, refusal)
                row += 1
    if row and not n_images:
        raise DamagedContainerError(
            f"its column {image!r} has paths and no bytes: write it with embedded images (in "
            "datasets: embed_table_storage), or pass it to --files-from"
        )


def fact_columns(schema: "pa.Schema", columns: Columns) -> list[str]:
    """Return the columns to read besides the images: those that the user named, and a label."""
    names = [name for name in schema.names if not _has_bytes(schema.field(name).type)]
    labels = [] if columns.label else [name for name in LABEL_COLUMNS if name in names][:1]
    return [name for name in dict.fromkeys([*columns.named, *labels]) if name in names]


def read_row(source: Source, member: Member) -> bytes:
    """Read the bytes of the image in a row; raise `UnreadableError` if the file is damaged."""
    try:
        with _reading:  # otherwise several threads would read the same row group
            images = _row_group(source.file, member.file, member.offset, member.column)
        content: bytes = images[member.length].as_py()
    except (DamagedContainerError, IndexError) as exc:
        raise UnreadableError(Reason.CONTAINER, str(exc)) from exc
    return content


@lru_cache(_MAX_ROW_GROUPS)
def _row_group(path: str, file: tuple[int, int], group: int, column: str) -> "pa.Array":
    with open_container(path, file) as opened, parquet_errors():
        return _bytes(_images(open_parquet(opened), group, column))


@contextmanager
def parquet_errors() -> Iterator[None]:
    """Turn pyarrow's exceptions for damaged files into DamagedContainerError of one line."""
    with importing(
        "pyarrow", "pip install 'sparsefeat[convert]'", purpose="Parquet files are read with it"
    ):
        import pyarrow as pa
    try:
        yield
    except (MemoryError, SourceError):
        raise
    except (pa.ArrowException, OSError, UnicodeError) as exc:  # a name isn't UTF-8
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        raise DamagedContainerError(str(exc).splitlines()[0]) from exc


def open_parquet(file: IO[bytes], buffer_size: int = 0) -> Any:
    """Open a Parquet file, inside `parquet_errors`.

    With a `buffer_size`, columns are read in pieces of that many bytes, otherwise at once.
    """
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, buffer_size=buffer_size, pre_buffer=not buffer_size)


def _image_column(schema: "pa.Schema") -> str | None:
    fitting = [field.name for field in schema if _has_bytes(field.type)]
    return next((name for name in (*_IMAGE_COLUMNS, *fitting) if name in fitting), None)


def _has_bytes(kind: Any) -> bool:
    """Return whether a type is bytes, or a struct with a field ``bytes``."""
    import pyarrow as pa

    if pa.types.is_struct(kind) and (index := kind.get_field_index("bytes")) >= 0:
        kind = kind.field(index).type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _images(table: Any, group: int, column: str) -> "pa.Array":
    images: pa.Array = table.read_row_group(group, columns=[column])[column].combine_chunks()
    return images


def _bytes(images: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    return images.field("bytes") if pa.types.is_struct(images.type) else images


def _lengths(images: "pa.Array") -> list[int | None]:
    import pyarrow.compute as pc

    lengths: list[int | None] = pc.binary_length(_bytes(images)).to_pylist()
    return lengths


def _paths(images: "pa.Array") -> list[str | None]:
    import pyarrow as pa

    if pa.types.is_struct(images.type) and images.type.get_field_index("path") >= 0:
        paths: list[str | None] = images.field("path").to_pylist()
        return paths
    return [None] * len(images)


def class_names(schema: "pa.Schema") -> dict[str, list[str]]:
    """Read the class names that ``datasets`` stores in the metadata, by column."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        items = [*features.items()]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return {}
    names: dict[str, list[str]] = {}
    for column, feature in items:
        while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]  # of each one in a list
        if isinstance(feature, dict) and isinstance(feature.get("names"), list):
            names[column] = [str(name) for name in feature["names"]]
    return names


def with_names(
    row: Mapping[str, object], classes: Mapping[str, Sequence[str]]
) -> Mapping[str, object]:
    """Return a row with class numbers replaced by class names."""
    named = {name: _named(row[name], names) for name, names in classes.items() if name in row}
    return {**row, **named} if named else row


def _named(value: object, names: Sequence[str]) -> object:
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return value
