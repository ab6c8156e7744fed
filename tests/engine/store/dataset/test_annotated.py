import json
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import numpy.typing as npt
import pytest
from anndata import AnnData
from pandas.testing import assert_frame_equal
from scipy.sparse import csr_matrix, issparse

from sparsefeat.errors import DependencyError, InputError, LayerError, StoreCorruptError
from sparsefeat.store import Store

from ..data import SMALL, dense_rows, make_batch, make_reject, part_folders, write_store

ROWS = 23
KEYS = {layer.name.replace("/", "."): layer for layer in SMALL}
SOME: dict[str, Any] = {
    "mask": np.arange(ROWS) % 3 == 1,
    "slice": slice(3, 17, 2),
    "numbers": [20, 2, 9],
    "none": [],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("annotated") / "features"
    write_store(folder, [make_batch(range(ROWS))], rows_per_part=5)
    return Store(folder)


@pytest.fixture
def lazy(store: Store) -> AnnData:
    return store.anndata(memory=900)


def whole(value: Any) -> npt.NDArray[np.float32]:
    value = value.compute() if hasattr(value, "compute") else value
    if issparse(value):
        assert isinstance(value, csr_matrix)  # as anndata does when it reads a part
        value = value.toarray()
    assert value.dtype == np.float32
    array: npt.NDArray[np.float32] = value
    return array


def assert_holds(data: AnnData, rows: Any) -> None:
    numbers = np.arange(ROWS)[rows]
    assert set(data.obsm) == set(KEYS)
    for key, layer in KEYS.items():
        np.testing.assert_array_equal(whole(data.obsm[key]), dense_rows(layer, numbers))


@pytest.mark.parametrize("is_lazy", [True, False])
def test_the_whole_store_is_one_anndata_object(store: Store, is_lazy: bool) -> None:
    data = store.anndata(lazy=is_lazy)
    assert data.shape == (ROWS, 0)
    assert_frame_equal(data.obs, store.obs, check_dtype=False, check_index_type=False)
    assert all(hasattr(value, "compute") == is_lazy for value in data.obsm.values())
    assert_holds(data, slice(None))
    kept = data.uns["sparsefeat"]
    assert json.loads(kept["settings"]) == store.settings
    assert json.loads(kept["provenance"]) == store.provenance
    assert json.loads(kept["layers"]) == {layer.name: [*layer.shape] for layer in SMALL}
    for key, layer in KEYS.items():
        expected = store[layer.name].zeros().per_channel
        np.testing.assert_array_equal(kept["zeros_per_channel"][key], expected)


def test_chunks_stay_within_the_memory_limit(store: Store, lazy: AnnData) -> None:
    for key, value in lazy.obsm.items():
        assert len(value.chunks[0]) > 2
        assert len(value.chunks[1]) == 1
        for block in value.blocks:
            found = block.compute()
            if isinstance(found, np.ndarray):
                assert found.nbytes <= 900
            else:
                assert found.data.nbytes + found.indices.nbytes + found.indptr.nbytes <= 900
        assert isinstance(value._meta, np.ndarray) == (key == "fc")
    with pytest.raises(InputError, match=r"row \d+ of .* takes"):
        store.anndata(memory=100)


@pytest.mark.parametrize("rows", SOME)
def test_rows_can_be_chosen(lazy: AnnData, rows: str) -> None:
    view = lazy[SOME[rows]]
    assert_holds(view, SOME[rows])
    assert_holds(view.to_memory(), SOME[rows])
    assert_holds(view.copy(), SOME[rows])


def test_rows_can_be_chosen_by_a_condition(store: Store, lazy: AnnData) -> None:
    assert_holds(lazy[store.where("height > 490")], slice(11, None))
    assert_holds(lazy[lazy.obs["height"] > 490], slice(11, None))


@pytest.mark.parametrize("rows", ["mask", "slice"])
def test_chosen_rows_can_be_written_as_h5ad(lazy: AnnData, rows: str, tmp_path: Path) -> None:
    lazy[SOME[rows]].copy().write_h5ad(tmp_path / "some.h5ad")
    assert_holds(anndata.read_h5ad(tmp_path / "some.h5ad"), SOME[rows])


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_whole_store_can_be_written(lazy: AnnData, tmp_path: Path) -> None:
    lazy.write_h5ad(tmp_path / "whole.h5ad")
    data = anndata.read_h5ad(tmp_path / "whole.h5ad")
    assert_holds(data, slice(None))
    assert data.obs["path"].tolist() == lazy.obs["path"].tolist()
    assert json.loads(data.uns["sparsefeat"]["settings"]) == {"pool": "none"}
    options: dict[str, Any] = {"zarr_write_format": 3}
    if "auto_shard_zarr_v3" in dir(anndata.settings):  # which old versions don't know
        options["auto_shard_zarr_v3"] = False
    with anndata.settings.override(**options):
        lazy.write_zarr(tmp_path / "whole.zarr")
    assert_holds(anndata.read_zarr(tmp_path / "whole.zarr"), slice(None))


def test_two_stores_can_be_concatenated(lazy: AnnData) -> None:
    both = anndata.concat([lazy[:4], lazy[10:]])
    assert all(hasattr(value, "dask") for value in both.obsm.values())
    assert_holds(both, [*range(4), *range(10, ROWS)])


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_every_dask_scheduler_computes_it(lazy: AnnData, scheduler: str) -> None:
    found = lazy.obsm["block5_pool"].compute(scheduler=scheduler)
    assert found.indices.dtype == np.int32
    np.testing.assert_array_equal(found.toarray(), dense_rows(SMALL[0], range(ROWS)))


def test_sums_do_not_need_all_rows_in_memory(lazy: AnnData) -> None:
    layer = lazy.obsm["block5_pool"]
    rows = layer.map_blocks(lambda block: block.sum(axis=1), chunks=(layer.chunks[0], (1,)))
    expected = dense_rows(SMALL[0], range(ROWS)).sum(axis=1)
    np.testing.assert_allclose(np.asarray(rows.compute()).ravel(), expected, rtol=1e-5)


def test_layers_can_be_chosen(store: Store) -> None:
    assert list(store.anndata(["fc"]).obsm) == ["fc"]
    with pytest.raises(LayerError, match="try fc"):
        store.anndata(["fc1"])
    assert list(store.anndata("fc,*_pool").obsm) == ["block5_pool", "fc"]


@pytest.mark.parametrize("is_lazy", [True, False])
def test_a_layer_can_be_x_with_names_for_its_columns(store: Store, is_lazy: bool) -> None:
    layer = SMALL[0]
    data = store.anndata(x=layer.name, lazy=is_lazy)
    np.testing.assert_array_equal(whole(data.X), dense_rows(layer, range(ROWS)))
    assert list(data.var_names[:2]) == [f"{layer.name}_0", f"{layer.name}_1"]
    assert layer.name.replace("/", ".") not in data.obsm
    assert len(data.obsm) == len(SMALL) - 1
    assert set(data.uns["sparsefeat"]["zeros_per_channel"]) == set(KEYS)
    column = whole(data[:, f"{layer.name}_7"].X)
    np.testing.assert_array_equal(column, dense_rows(layer, range(ROWS))[:, 7:8])
    with pytest.raises(LayerError, match="no layer 'fc9'"):
        store.anndata(x="fc9")


@pytest.mark.parametrize("is_lazy", [True, False])
def test_a_store_without_rows_is_empty(tmp_path: Path, is_lazy: bool) -> None:
    write_store(tmp_path, [make_batch([], rejects=[make_reject(1)])])
    data = Store(tmp_path).anndata(lazy=is_lazy)
    assert whole(data.obsm["block5_pool"]).shape == (0, 72)
    assert whole(data.obsm["fc"]).shape == (0, 40)


def test_only_requested_rows_are_read_when_they_are_computed(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(ROWS))], rows_per_part=12)
    data = Store(tmp_path).anndata(memory=900)
    file = part_folders(tmp_path)[1] / "obsm/block5_pool/data/c.0"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert data[:5].obsm["block5_pool"].compute().shape == (5, 72)
    for damaged in (data, data[12:13]):
        layer = damaged.obsm["block5_pool"]
        with pytest.raises(StoreCorruptError):
            layer.compute()


def test_without_dask_it_can_be_read_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(DependencyError, match=r"pip install 'sparsefeat\[dask\]'"):
        store.anndata()
    assert_holds(store.anndata(lazy=False), slice(None))
