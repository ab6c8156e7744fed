"""Stores of format 1, as the first release wrote them, are read bit for bit.

`tests/fixtures/format-1` has a store for each kind of values. The one of float32 has parts whose
layers are CSR, dense and codes; a row that was replaced, one that was removed, and rejects.
`expected.npz` has what each layer of each store gave when they were written.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from sparsefeat.store import Store, StoreWriter, history, verify
from sparsefeat.store.format.values import CodedValues
from sparsefeat.types import Batch

from ..data import assert_same_floats, make_row
from ..part.test_anndata import read_with_anndata

FROZEN = Path(__file__).parents[3] / "fixtures" / "format-1"
KINDS = ("float32", "float16", "bits-9", "uint8")
SIZES = {"float32": [1000, 1002, 1003, 1004, 1006, 77]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_store_is_read(kind: str) -> None:
    store = Store(FROZEN / kind)
    with np.load(FROZEN / "expected.npz") as expected:
        for name, view in store.layers.items():
            rows = expected[f"{kind} {name.replace('/', '.')}"]
            assert_same_floats(store[name].to_numpy(), rows)
            flat = rows.reshape(len(rows), view.n_features)
            assert_same_floats(store[name][:].toarray(), flat)
            np.testing.assert_array_equal(store[name].zeros().per_row, (flat == 0).sum(axis=1))
    assert store.obs["bytes"].tolist() == SIZES.get(kind, [1000, 1001, 1002])
    assert store.obs["path"].tolist()[0] == "cats/é 0.jpg"
    assert store.settings["pool"] == "none"
    assert verify(FROZEN / kind).findings == ()


def test_history_and_rejects_of_a_frozen_store_are_read() -> None:
    commits = history(FROZEN / "float32")
    assert [(commit.operation, commit.rows) for commit in commits] == [
        ("extract", 4),
        ("extract", 7),
        ("update", 7),
        ("remove", 6),
    ]
    before = Store(FROZEN / "float32", snapshot=2)
    assert before.obs["bytes"].tolist() == [*range(1000, 1007)]
    assert before.rejected["reason"].tolist() == ["truncated file"]
    assert len(Store(FROZEN / "float32").rejected) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_anndata_reads_the_parts_of_a_frozen_store(kind: str, tmp_path: Path) -> None:
    store = Store(FROZEN / kind)
    start = 0
    with np.load(FROZEN / "expected.npz") as expected:
        for part in store.parts:
            told, arrays = read_with_anndata(Path(store.folder) / part.key, tmp_path)
            kept = np.arange(part.entry.rows) if part.kept is None else part.kept
            assert np.array(told["index"])[kept].tolist() == (
                store.obs.index[start : start + len(kept)].tolist()
            )
            for name, stored in part.layers.items():
                key = name.replace("/", ".")
                read = arrays[key][kept].astype(np.float32)
                rows = expected[f"{kind} {key}"][start : start + len(kept)].reshape(read.shape)
                if isinstance(stored.values, CodedValues):
                    scales = np.resize(part.scales(name), stored.layer.n_features)
                    read = (read**2 if stored.companding == "square" else read) * scales
                assert_same_floats(read, rows)
            start += len(kept)


def test_a_frozen_store_can_be_appended_to(tmp_path: Path) -> None:
    folder = shutil.copytree(FROZEN / "float32", tmp_path / "store")
    before = Store(folder)
    row = make_row(9)
    layers = {name: before[name][:1].toarray() for name in before.layers}
    with StoreWriter.open(
        folder,
        layers=before.snapshot.layers,
        settings=before.settings,
        provenance={},
    ) as writer:
        assert writer.append(Batch(rows=(row,), layers=layers)) == 1
    after = Store(folder)
    assert len(after) == len(before) + 1
    for name in before.layers:
        assert_same_floats(after[name][-1].toarray(), layers[name])
    assert verify(folder).ok
