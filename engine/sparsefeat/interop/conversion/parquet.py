"""Writes a store as a Parquet file: a line for each image, with its layers as lists."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.errors import InputError
from sparsefeat.interop.conversion.output import Sink
from sparsefeat.interop.conversion.reader import StoreReader

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy.sparse import csr_array

NEEDS: tuple[str, ...] = ("pyarrow.parquet",)
INDEX = "row_id"
ENCODINGS = ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")  # of indices and values
_KINDS = "ifb"  # NumPy's kinds of numbers and booleans; other columns are text
MAX_NOTES = 64 << 20  # bytes; pyarrow itself refuses to read more than 100 MB


def write(source: StoreReader, path: Path) -> dict[str, int]:
    """Write the file; return the bytes of each layer.

    Raises
    ------
    InputError
        Two columns would have the same name, or there are too many rejects for the metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    obs = source.obs.rename_axis(INDEX)
    names = {layer.name: columns(layer.name) for layer in source.layers}
    texts = [INDEX, *(name for name in obs.columns if obs[name].dtype.kind not in _KINDS)]
    _require_distinct([INDEX, *obs.columns, *(name for pair in names.values() for name in pair)])
    table_schema = _table_schema(obs, texts)
    schema = table_schema
    for pair in names.values():
        for name, kind in zip(pair, (pa.int32(), pa.float32()), strict=True):
            schema = schema.append(pa.field(name, pa.list_(kind)))
    notes = _notes(source, names)
    with Sink(path) as sink:
        writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in texts if name != INDEX],
            write_statistics=[INDEX, *obs.columns],
            column_encoding={
                f"{name}.list.element": encoding
                for pair in names.values()
                for name, encoding in zip(pair, ENCODINGS, strict=True)
            },
            write_page_checksum=True,
        )
        with contextlib.closing(writer):
            for start, stop in source.stretches(*names):
                table = pa.Table.from_pandas(obs.iloc[start:stop], schema=table_schema)
                for layer, pair in names.items():
                    lists = _lists(source.csr(layer, start, stop))
                    for name, array in zip(pair, lists, strict=True):
                        table = table.append_column(schema.field(name), array)
                writer.write_table(table, row_group_size=stop - start)
                sink.check()
                for layer in names:
                    source.wrote(layer, start, stop)
            writer.add_key_value_metadata(notes)
    return _sizes(path, names)


def columns(layer: str) -> tuple[str, str]:
    """Return the names of a layer's two columns, which SQL needn't quote.

    Examples
    --------
    >>> columns("block5_conv3/pre")
    ('block5_conv3_pre_indices', 'block5_conv3_pre_values')
    """
    key = layer.replace("/", "_")
    return f"{key}_indices", f"{key}_values"


def _notes(source: StoreReader, names: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return the header and the rejects as JSON, for the file's metadata."""
    header = json.loads(source.header())
    for facts in header["layers"]:
        facts["columns"] = dict(zip(("indices", "values"), names[facts["name"]], strict=True))
    rejected = source.rejected.to_dict(orient="records")
    notes = {"sparsefeat": header, "sparsefeat.rejected": rejected}
    texts = {name: json.dumps(note, ensure_ascii=False) for name, note in notes.items()}
    if max(len(text.encode()) for text in texts.values()) > MAX_NOTES:
        raise InputError(
            f"{len(rejected):,} rejects and the parts' provenance take more than "
            f"{MAX_NOTES >> 20} MiB, more than a Parquet file's metadata may have: convert to h5ad "
            "or npz"
        )
    return texts


def _require_distinct(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"two columns would be called {twice}, because the names of two layers differ only in "
            "/ and _: convert them one by one"
        )


def _table_schema(obs: Any, texts: list[str]) -> "pa.Schema":
    """Return the schema of `obs`, with pandas' metadata on its index."""
    import pyarrow as pa

    types = [
        (name, pa.string() if name in texts else pa.from_numpy_dtype(obs[name].dtype))
        for name in (INDEX, *obs.columns)
    ]
    return pa.Table.from_pandas(obs.iloc[:0], schema=pa.schema(types)).schema


def _lists(csr: "csr_array") -> "tuple[pa.ListArray, pa.ListArray]":
    import pyarrow as pa

    offsets = pa.array(csr.indptr.astype(np.int32, copy=False))
    return (
        pa.ListArray.from_arrays(offsets, pa.array(csr.indices)),
        pa.ListArray.from_arrays(offsets, pa.array(csr.data)),
    )


def _sizes(path: Path, names: dict[str, tuple[str, str]]) -> dict[str, int]:
    """Return the bytes of each layer's columns, from the file's metadata."""
    import pyarrow.parquet as pq

    taken: dict[str, int] = {}
    metadata = pq.read_metadata(path)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            column = group.column(index)
            name = column.path_in_schema.split(".")[0]
            taken[name] = taken.get(name, 0) + column.total_compressed_size
    return {layer: sum(taken.get(name, 0) for name in pair) for layer, pair in names.items()}
