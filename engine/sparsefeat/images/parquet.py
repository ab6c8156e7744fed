"""Images in the rows of Parquet files, as img2dataset and ``datasets`` write them."""

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any, Final

from sparsefeat.images.source import (
    DamagedContainerError,
    Found,
    Judge,
    Member,
    Reason,
    Source,
    UnreadableError,
    encode_path,
    member_source,
    open_container,
    refused,
)
from sparsefeat.system import importing

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGE_COLUMNS: Final = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes")
_NAME_COLUMNS: Final = ("path", "file_name", "filename", "file", "key", "__key__", "id", "url")
_LABEL_COLUMNS: Final = ("label", "labels", "class", "cls", "category")
_MAX_ROW_GROUPS: Final = 2  # row groups in memory
_reading = threading.Lock()


def list_rows(source: Source, judge: Judge) -> Generator[Found, None, None]:
    """List the images of a Parquet file's rows.

    Images are in a column of bytes, or of structs that have a field ``bytes``; rows without bytes
    (img2dataset's failures) are passed over. A row is named by its path, file name, key or URL,
    else by its number; its label is that of the column ``label``, by name where the file says so.

    Raises
    ------
    DamagedContainerError
        It is no Parquet file, has no images, or none of its rows has bytes.
    """
    with open_container(source.file) as file, _damage():
        table = _open(file)
        schema = table.schema_arrow
        image = _image_column(schema)
        name = next((each for each in _NAME_COLUMNS if each in schema.names), None)
        label = next((each for each in _LABEL_COLUMNS if each in schema.names), None)
        classes = [] if label is None else _class_names(schema, label)
        row = n_images = 0
        taken: set[str] = set()
        for group in range(table.num_row_groups):
            images = _images(table, group, image)
            columns = [each for each in (name, label) if each is not None]
            facts = table.read_row_group(group, columns=columns).to_pydict()
            paths = _paths(images)
            for number, size in enumerate(_lengths(images)):
                if size is not None:
                    own = paths[number] if name is None else facts[name][number]
                    called = str(own or "").lstrip("/")
                    if not called or called in taken:
                        called = f"{row:09}"
                    taken.add(called)
                    kind = None if label is None else facts[label][number]
                    if isinstance(kind, int) and 0 <= kind < len(classes):
                        kind = classes[kind]
                    verdict = judge(called)
                    found = member_source(
                        source,
                        called,
                        size,
                        member=Member.of(source, offset=group, length=number, column=image),
                        label=None if kind is None else encode_path(str(kind)),
                    )
                    n_images += 1
                    if verdict is not False:
                        refusal = None if verdict is True else UnreadableError(verdict)
                        yield found if refusal is None else refused(found, refusal)
                row += 1
    if row and not n_images:
        raise DamagedContainerError(
            f"its column {image!r} has paths and no bytes: write it with the images in it, after"
            " datasets' embed_table_storage"
        )


def read_row(source: Source, member: Member) -> bytes:
    """Read the bytes of one row's image; raises `UnreadableError` where they are damaged."""
    try:
        with _reading:  # or threads would read the same row group several times
            images = _row_group(source.file, member.file, member.offset, member.column)
        content: bytes = images[member.length].as_py()
    except (DamagedContainerError, IndexError) as exc:
        raise UnreadableError(Reason.CONTAINER, str(exc)) from exc
    return content


@lru_cache(_MAX_ROW_GROUPS)
def _row_group(path: str, file: tuple[int, int], group: int, column: str) -> "pa.Array":
    with open_container(path, file) as opened, _damage():
        return _bytes(_images(_open(opened), group, column))


@contextmanager
def _damage() -> Iterator[None]:
    """Say what pyarrow says of a damaged file in a line."""
    with importing("pyarrow", "pip install 'sparsefeat[convert]'", purpose="Parquet needs it"):
        import pyarrow as pa
    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise
        raise DamagedContainerError(str(exc).splitlines()[0]) from exc


def _open(file: IO[bytes]) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file)


def _image_column(schema: "pa.Schema") -> str:
    import pyarrow as pa

    def has_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind) and (place := kind.get_field_index("bytes")) >= 0:
            kind = kind.field(place).type
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    fitting = [field.name for field in schema if has_bytes(field.type)]
    if not fitting:
        raise DamagedContainerError(
            f"none of its columns ({', '.join(schema.names)}) has the bytes of images"
        )
    return str(next((name for name in _IMAGE_COLUMNS if name in fitting), fitting[0]))


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


def _class_names(schema: "pa.Schema", column: str) -> list[str]:
    """Read the names of classes that ``datasets`` writes into the metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
