import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal
from scipy.sparse import csr_array

import sparsefeat
from sparsefeat.errors import InputError
from sparsefeat.interop.conversion import parquet
from sparsefeat.interop.conversion.parquet import columns
from sparsefeat.types import Layer

from ...store.data import SMALL, make_batch, write_store
from .stores import (
    assert_kept,
    assert_same_matrix,
    empty_store,
    flipped,
    odd_store,
    only_store_left,
    read_without_us,
)


def matrix(path: Path, layer: str) -> Any:
    """As in docs/convert.md."""
    file = pq.ParquetFile(path)
    facts = json.loads(file.metadata.metadata[b"sparsefeat"])["layers"]
    found = next(one for one in facts if one["name"] == layer)
    indices, values, counts = [np.empty(0, np.int32)], [np.empty(0, np.float32)], [0]
    names = [found["columns"]["indices"], found["columns"]["values"]]
    for number in range(file.num_row_groups):
        group = file.read_row_group(number, columns=names)
        first, second = (group[name].combine_chunks() for name in names)
        counts += first.value_lengths().to_pylist()
        indices.append(first.flatten().to_numpy())
        values.append(second.flatten().to_numpy())
    indptr = np.cumsum(counts)
    if indptr[-1] < 2**31:  # else scipy would make all of them int64
        indptr = indptr.astype(np.int32)
    shape = (len(counts) - 1, int(np.prod(found["shape"])))
    return csr_array((np.concatenate(values), np.concatenate(indices), indptr), shape)


def test_lists_equal_the_store_s_rows(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    done = sparsefeat.convert(store, tmp_path / "all.parquet", memory=1)
    for layer in SMALL:
        assert_same_matrix(
            matrix(tmp_path / "all.parquet", layer.name), store[layer.name].to_scipy()
        )
    file = pq.ParquetFile(tmp_path / "all.parquet", page_checksum_verification=True)
    assert file.num_row_groups == 11
    assert file.read().num_rows == 11
    assert done.bytes == (tmp_path / "all.parquet").stat().st_size
    notes = file.metadata.metadata
    assert json.loads(notes[b"sparsefeat"])["settings"] == {"pool": "none"}
    rejected = json.loads(notes[b"sparsefeat.rejected"])
    assert rejected == store.rejected.to_dict(orient="records")


def test_pandas_reads_obs_and_row_ids(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.parquet")
    frame = pd.read_parquet(tmp_path / "all.parquet")
    obs = frame[[*store.obs.columns]]
    assert_frame_equal(obs, store.obs, check_dtype=False, check_index_type=False, check_names=False)
    assert frame.index.name == "row_id"
    first = store["block5_pool"][0]
    np.testing.assert_array_equal(frame["block5_pool_values"].iloc[0], first.data)
    np.testing.assert_array_equal(frame["block5_pool_indices"].iloc[0], first.indices)
    assert len(frame["block5_pool_indices"].iloc[3]) == 0
    wide = pd.read_parquet(tmp_path / "all.parquet", columns=["path"], filters=[("width", ">", 1)])
    assert list(wide["path"]) == list(store.obs["path"])


def test_columns_have_compact_encodings(tmp_path: Path) -> None:
    sparsefeat.convert(odd_store(tmp_path / "store"), tmp_path / "all.parquet")
    group = pq.read_metadata(tmp_path / "all.parquet").row_group(0)
    found = {
        group.column(index).path_in_schema: group.column(index)
        for index in range(group.num_columns)
    }
    indices, values = (
        found[f"{name}.list.element"] for name in ("block5_pool_indices", "block5_pool_values")
    )
    assert "DELTA_BINARY_PACKED" in indices.encodings
    assert "BYTE_STREAM_SPLIT" in values.encodings
    assert {column.compression for column in found.values()} == {"ZSTD"}


def test_readers_that_check_pages_detect_a_flipped_bit(tmp_path: Path) -> None:
    sparsefeat.convert(odd_store(tmp_path / "store"), tmp_path / "all.parquet", layers="fc")
    column = pq.read_metadata(tmp_path / "all.parquet").row_group(0).column(11)
    assert column.path_in_schema == "fc_values.list.element"
    start, size = column.data_page_offset, column.total_compressed_size
    for other in flipped(tmp_path / "all.parquet", start, size):
        with pytest.raises(OSError):
            pq.read_table(other, page_checksum_verification=True)


def test_a_store_without_rows_is_converted(tmp_path: Path) -> None:
    store = empty_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.parquet")
    assert matrix(tmp_path / "all.parquet", "block5_pool").shape == (0, 72)
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert len(frame) == 0
    assert list(frame.columns)[: len(store.obs.columns)] == list(store.obs.columns)


def test_the_file_is_read_without_sparsefeat(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.parquet")
    told, arrays = read_without_us(
        """
import pyarrow.parquet as pq
from scipy.sparse import csr_array
table = pq.read_table(path)
for layer in json.loads(pq.read_metadata(path).metadata[b"sparsefeat"])["layers"]:
    columns = layer["columns"]
    indices, values = (table[columns[name]].combine_chunks() for name in ("indices", "values"))
    counts = np.append(0, np.cumsum(values.value_lengths().to_numpy())).astype(np.int32)
    arrays_of = values.flatten().to_numpy(), indices.flatten().to_numpy(), counts
    keep(layer["name"], csr_array(arrays_of, (table.num_rows, int(np.prod(layer["shape"])))))
print(json.dumps([table["row_id"].to_pylist(), table["path"].to_pylist()]))
""",
        tmp_path / "all.parquet",
        tmp_path,
    )
    assert told == [list(store.obs.index), store.obs["path"].tolist()]
    assert_kept(arrays, store)


def test_row_groups_are_limited_by_memory(tmp_path: Path) -> None:
    """They take at most a quarter of the memory, so offsets always fit into int32."""
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.parquet", layers="block5_pool", memory=3200)
    metadata = pq.read_metadata(tmp_path / "all.parquet")
    assert metadata.num_row_groups > 1
    nnz = np.diff(store["block5_pool"].to_scipy().indptr)
    start = 0
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        assert rows == 1 or 8 * nnz[start : start + rows].sum() <= 800
        start += rows


def test_layers_with_equal_column_names_are_refused(tmp_path: Path) -> None:
    layers = [Layer(name="a/b", shape=(2,)), Layer(name="a_b", shape=(2,))]
    write_store(tmp_path / "store", [make_batch([0], layers)], layers)
    with pytest.raises(InputError, match="two columns would be called a_b_indices"):
        sparsefeat.convert(tmp_path / "store", tmp_path / "all.parquet")
    sparsefeat.convert(tmp_path / "store", tmp_path / "all.parquet", layers="a/b")
    assert columns("a/b") == ("a_b_indices", "a_b_values")


def test_too_many_rejects_for_the_metadata_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parquet.MAX_NOTES < 100_000_000
    monkeypatch.setattr(parquet, "MAX_NOTES", 300)
    odd_store(tmp_path / "store")
    with pytest.raises(InputError, match=r"2 rejects.*h5ad"):
        sparsefeat.convert(tmp_path / "store", tmp_path / "all.parquet")
    assert only_store_left(tmp_path)
