import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from pandas.testing import assert_frame_equal

import sparsefeat
from sparsefeat.errors import InputError
from sparsefeat.interop.conversion.h5ad import CHUNK, ArrayStream
from sparsefeat.store import Store
from sparsefeat.types import Batch

from ...store.data import SMALL, assert_same_floats, make_batch, make_row, write_store
from .stores import (
    assert_kept,
    assert_same_matrix,
    empty_store,
    flipped,
    odd_store,
    read_without_us,
)

KEYS = {layer.name: layer.name.replace("/", ".") for layer in SMALL}


@pytest.mark.parametrize("backed", [None, "r"])
def test_anndata_reads_what_the_store_holds(tmp_path: Path, backed: str | None) -> None:
    store = odd_store(tmp_path / "store")
    done = sparsefeat.convert(store, tmp_path / "all.h5ad", memory=1)  # one row at a time
    data = anndata.read_h5ad(tmp_path / "all.h5ad", backed=backed)
    assert data.shape == (11, 0)
    assert list(data.obsm) == sorted(KEYS.values())
    assert_same_matrix(data.obsm["block5_pool"], store["block5_pool"].to_scipy())
    assert_same_matrix(data.obsm["block5_conv3.pre"], store["block5_conv3/pre"].to_scipy())
    assert_same_floats(data.obsm["fc"], store["fc"].to_numpy())
    assert_frame_equal(data.obs, store.obs, check_dtype=False, check_index_type=False)
    assert {str(dtype) for dtype in data.obs.dtypes} == {"object", "int64"}
    rejected = data.uns["sparsefeat"]["rejected"]
    assert_frame_equal(rejected, store.rejected, check_dtype=False, check_index_type=False)
    header = json.loads(data.uns["sparsefeat"]["header"])
    assert header["rows"] == 11
    assert header["settings"] == {"pool": "none"}
    assert header["provenance"] == [{"tool": "test"}]
    assert {entry["name"]: tuple(entry["shape"]) for entry in header["layers"]} == {
        layer.name: layer.shape for layer in SMALL
    }
    subset = data[[7, 2]].to_memory()
    assert_same_matrix(subset.obsm["block5_pool"], store["block5_pool"][[7, 2]])
    assert done.bytes == (tmp_path / "all.h5ad").stat().st_size
    assert {name: layer.nnz for name, layer in done.layers.items()} == {
        layer.name: store[layer.name].nnz for layer in SMALL
    }


def test_rows_can_be_read_from_the_disk(tmp_path: Path) -> None:
    """As the documentation describes for files larger than memory."""
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.h5ad", layers="block5_pool")
    with h5py.File(tmp_path / "all.h5ad") as file:
        rows = anndata.io.sparse_dataset(file["obsm/block5_pool"])[2:7]
        assert_same_matrix(rows, store["block5_pool"][2:7])


def test_a_store_without_rows_is_converted(tmp_path: Path) -> None:
    store = empty_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.h5ad")
    data = anndata.read_h5ad(tmp_path / "all.h5ad")
    assert data.shape == (0, 0)
    assert data.obsm["block5_pool"].shape == (0, 72)
    assert list(data.uns["sparsefeat"]["rejected"]["path"]) == ["broken-1.png"]


def test_the_file_is_read_without_sparsefeat(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.h5ad")
    told, arrays = read_without_us(
        """
import anndata
from scipy.sparse import csr_matrix
data = anndata.read_h5ad(path)
for key, value in data.obsm.items():
    keep(key.replace(".", "/"), csr_matrix(value))
print(json.dumps([list(data.obs.index), data.obs["path"].tolist()]))
""",
        tmp_path / "all.h5ad",
        tmp_path,
    )
    assert told == [list(store.obs.index), store.obs["path"].tolist()]
    assert_kept(arrays, store)


def test_only_filters_that_every_hdf5_has_are_used(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.h5ad")
    with h5py.File(tmp_path / "all.h5ad") as file:
        for name in ("block5_pool/data", "block5_pool/indices", "block5_pool/indptr", "fc"):
            dataset = file["obsm"][name]
            assert (dataset.compression, dataset.compression_opts, dataset.shuffle) == (
                "gzip",
                1,
                True,
            )


def test_gzip_detects_a_flipped_bit(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.h5ad")
    with h5py.File(tmp_path / "all.h5ad") as file:
        chunk = file["obsm/block5_pool/data"].id.get_chunk_info(0)
    for other in flipped(tmp_path / "all.h5ad", chunk.byte_offset, chunk.size):
        with h5py.File(other) as file, pytest.raises(OSError, match=r"filter|inflate"):
            file["obsm/block5_pool/data"][:]


def test_a_nul_in_text_is_refused(tmp_path: Path) -> None:
    batch = Batch(rows=(make_row(0, path="nul\0"),), layers=make_batch([0]).layers)
    write_store(tmp_path / "store", [batch])
    with pytest.raises(InputError, match=r"path 'nul\\x00' contains a NUL.*parquet"):
        sparsefeat.convert(tmp_path / "store", tmp_path / "all.h5ad")
    sparsefeat.convert(tmp_path / "store", tmp_path / "all.parquet")


def test_some_rows_are_written_in_another_order(tmp_path: Path) -> None:
    store = odd_store(tmp_path / "store")
    rows = np.array([9, 0, 4])
    sparsefeat.convert(store, tmp_path / "some.h5ad", rows=rows, layers=["fc", "block5_pool"])
    data = anndata.read_h5ad(tmp_path / "some.h5ad")
    assert list(data.obsm) == ["block5_pool", "fc"]
    assert_same_matrix(data.obsm["block5_pool"], store["block5_pool"][rows])
    assert_same_floats(data.obsm["fc"], store["fc"].to_numpy(rows))
    expected = store.obs.iloc[rows]
    assert_frame_equal(data.obs, expected, check_dtype=False, check_index_type=False)
    assert Store(tmp_path / "store").n_rows == 11


def test_rounded_values_are_written_as_they_are_read(tmp_path: Path) -> None:
    layers = [SMALL[0], SMALL[2]]  # without negative values
    for number in range(2):
        write_store(tmp_path / "store", [make_batch([number], layers)], layers, values="uint8")
    store = Store(tmp_path / "store")
    sparsefeat.convert(store, tmp_path / "all.h5ad")
    data = anndata.read_h5ad(tmp_path / "all.h5ad")
    assert_same_matrix(data.obsm["block5_pool"], store["block5_pool"].to_scipy())
    header = json.loads(data.uns["sparsefeat"]["header"])
    assert header["layers"][0]["values"] == store["block5_pool"].stored_values()
    assert len(header["layers"][0]["values"]) == 2


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
@pytest.mark.parametrize("step", [1000, CHUNK, 5 * CHUNK])
def test_arrays_of_one_axis_are_written_in_chunks(tmp_path: Path, length: int, step: int) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 20, length, np.int32)
    with ThreadPoolExecutor(2) as pool, h5py.File(tmp_path / "x", "w") as file:
        stream = ArrayStream(file, "a", values.shape, "<i4", pool)
        for start in range(0, length, step):
            stream.append(values[start : start + step])
        stream.finish()
        assert (stream.n_bytes > 0) == (length > 0)
    with h5py.File(tmp_path / "x") as file:
        np.testing.assert_array_equal(file["a"][:], values)


@pytest.mark.parametrize("shape", [(0, 7), (1, 7), (50, 3000), (3, 2 * CHUNK + 1)])
def test_arrays_of_two_axes_are_written_in_chunks(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape, np.float32)
    with ThreadPoolExecutor(2) as pool, h5py.File(tmp_path / "x", "w") as file:
        stream = ArrayStream(file, "a", shape, "<f4", pool)
        for row in values:
            stream.append(row)
        stream.finish()
    with h5py.File(tmp_path / "x") as file:
        np.testing.assert_array_equal(file["a"][:], values)
