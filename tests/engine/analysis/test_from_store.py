from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsefeat
from sparsefeat.analysis import LayerZeros, count_store
from sparsefeat.errors import LayerError, StoreCorruptError
from sparsefeat.store.part.array import StoredArray
from sparsefeat.store.part.read import Part
from sparsefeat.types import Layer
from sparsefeat_kernels import Csr

from ..store.data import SMALL, dense_rows, make_batch, make_reject, write_store

ROWS = 11


@pytest.fixture
def store(tmp_path: Path) -> sparsefeat.Store:
    """Eleven rows in three parts; `fc` is stored dense."""
    batches = [make_batch(range(start, min(start + 3, ROWS))) for start in range(0, ROWS, 3)]
    write_store(tmp_path / "store", batches, rows_per_part=5)
    return sparsefeat.open(tmp_path / "store")


def assert_counts(zeros: LayerZeros, layer: Layer, n_rows: int) -> None:
    """Compare with what numpy counts in the dense rows."""
    x = dense_rows(layer, range(n_rows)).reshape(n_rows, -1, layer.n_channels)
    assert zeros.share == np.mean(x == 0)
    assert zeros.per_row.tolist() == (x == 0).sum(axis=(1, 2)).tolist()
    assert zeros.per_channel.tolist() == (x == 0).sum(axis=(0, 1)).tolist()
    assert zeros.active_rows is not None
    assert zeros.active_rows.tolist() == (x != 0).any(axis=1).sum(axis=0).tolist()
    if len(layer.shape) == 1:
        assert zeros.per_position is None
        return
    assert zeros.per_position is not None
    assert zeros.per_position.shape == layer.shape[:2]
    assert zeros.per_position.ravel().tolist() == (x == 0).sum(axis=(0, 2)).tolist()


def test_counts_are_numpys(store: sparsefeat.Store) -> None:
    assert len(store.parts) == 3
    assert {part.layers["fc"].encoding for part in store.parts} == {"dense"}
    found = count_store(store)
    assert list(found) == [layer.name for layer in SMALL]
    for layer in SMALL:
        assert_counts(found[layer.name], layer, ROWS)


def test_rows_are_read_some_at_a_time(
    store: sparsefeat.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsefeat.store.dataset.store.SHARD", 30)
    progress: list[tuple[int, int, str]] = []
    found = count_store(store, report=lambda *told: progress.append(told))
    for layer in SMALL:
        assert_counts(found[layer.name], layer, ROWS)
    assert len(progress) > 3 * len(SMALL)
    assert progress[-1] == (3 * ROWS, 3 * ROWS, "fc")


def test_recorded_counts_need_neither_indices_nor_values(
    store: sparsefeat.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = StoredArray.gather

    def spy(array: StoredArray, *given: Any, **options: Any) -> None:
        read.append(array.key.split(".zarr/")[1])
        whole(array, *given, **options)

    monkeypatch.setattr(StoredArray, "gather", spy)
    found = count_store(store, ["block5_pool", "fc"], places=False)
    assert {name.split("/")[-1] for name in read} == {"indptr", "block5_pool", "fc"}
    assert not any(name in ("obsm/fc", "obsm/block5_pool") for name in read)
    zeros = found["block5_pool"]
    assert zeros.per_position is None
    assert zeros.always_on is None
    assert found["fc"].always_on is not None, "a unit has one position: nothing else to count"
    read.clear()
    count_store(store, ["block5_pool"])
    assert any(name.endswith("/indices") for name in read)
    assert not any(name.endswith("/data") for name in read)


def test_a_store_without_rows(tmp_path: Path) -> None:
    write_store(tmp_path / "store", [make_batch([], rejects=[make_reject(1)])])
    zeros = count_store(sparsefeat.open(tmp_path / "store"))["block5_pool"]
    assert zeros.share is None
    assert zeros.spread.mean is None
    assert np.isnan(zeros.channel_shares).all()
    assert zeros.dead.size == zeros.never_zero.size == 0
    assert zeros.always_on is not None
    assert zeros.always_on.size == 0


def test_indices_out_of_order_are_damage(
    store: sparsefeat.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def support(part: Part, layer: str, start: int, stop: int) -> Csr:
        csr = whole(part, layer, start, stop)
        return Csr(csr.indptr, csr.indices[::-1].copy(), csr.values, csr.n_columns)

    whole = Part.support
    monkeypatch.setattr(Part, "support", support)
    with pytest.raises(StoreCorruptError, match="block5_pool: row 0 of the Csr"):
        count_store(store, ["block5_pool"])


def test_an_unknown_layer(store: sparsefeat.Store) -> None:
    with pytest.raises(LayerError, match="block5_pool"):
        count_store(store, ["block5_pol"])


def test_counts_that_contradict_each_other(
    store: sparsefeat.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Part, "zeros_per_channel", lambda part, name: np.ones(8, np.int64))
    with pytest.raises(StoreCorruptError, match="block5_pool by channel"):
        count_store(store, ["block5_pool"])
