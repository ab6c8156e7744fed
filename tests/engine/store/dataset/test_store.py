import copy
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import InputError, StoreChangedError, StoreNotFoundError
from sparsefeat.store import Store
from sparsefeat.types import Layer

from ..data import SMALL, dense_rows, make_batch, part_folders, write_store

ROWS = 12


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write_store(tmp_path / "features", [make_batch(range(ROWS))], rows_per_part=5)
    return Store(tmp_path / "features", memory_limit=1 << 20)


def test_folders_and_files_that_are_not_stores_are_named(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(StoreNotFoundError) as caught:
            Store(path)
        return str(caught.value)

    assert said(tmp_path) == (
        f"{tmp_path} is an empty folder, expected a store: extract into it first"
    )
    model, loop = tmp_path / "vgg16.onnx", tmp_path / "loop"
    model.touch()
    assert f"{tmp_path} has no snapshots/*.json, expected a store: name {model}, or" in said(
        tmp_path
    )
    loop.symlink_to("loop")
    assert f"{loop} is a link that points to itself, expected a store" in said(loop)
    assert f"{model} is not a folder, expected a store" in said(model)


@pytest.mark.parametrize("layer", SMALL, ids=lambda layer: layer.name)
def test_nnz_per_row_equals_numpy_s(store: Store, layer: Layer) -> None:
    name = layer.name
    counts = store[name].nnz_per_row
    np.testing.assert_array_equal(counts, np.diff(store[name].to_scipy().indptr))
    assert counts.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        counts[0] = 0
    zeros = store[name].zeros()
    np.testing.assert_array_equal(zeros.per_row, store[name].layer.n_features - counts)


@pytest.mark.parametrize(
    "rows", [[[0], [0, 1]], [[0, 1]], None, "0", {0: 1}, 1.5, [0.5], (n for n in [0])]
)
def test_invalid_choices_of_rows_are_refused(store: Store, rows: Any) -> None:
    with pytest.raises(InputError, match="expected a number, a slice, a list of numbers"):
        store["fc"][rows]


def test_a_store_can_be_pickled(store: Store) -> None:
    _ = store["fc"][:]
    for other in (pickle.loads(pickle.dumps(store)), copy.deepcopy(store)):
        assert other.folder == store.folder
        assert other.memory_limit == 1 << 20
        np.testing.assert_array_equal(other["fc"].to_numpy(), store["fc"].to_numpy())


def test_a_pickled_store_keeps_its_snapshot(store: Store) -> None:
    sent = pickle.dumps(store)
    write_store(Path(store.folder), [make_batch(range(ROWS, ROWS + 4))])
    other = pickle.loads(sent)
    assert len(Store(store.folder)) == ROWS + 4
    assert len(other) == len(other.obs) == other["fc"].shape[0] == ROWS
    np.testing.assert_array_equal(
        other["fc"].to_scipy().toarray(), dense_rows(SMALL[2], range(ROWS))
    )


def test_a_pickled_store_that_was_deleted_is_an_error(store: Store) -> None:
    sent = pickle.dumps(store)
    shutil.rmtree(part_folders(Path(store.folder))[1])
    with pytest.raises(StoreChangedError, match="is not there any more"):
        pickle.loads(sent)["fc"][:]
    shutil.rmtree(store.folder)
    with pytest.raises(StoreNotFoundError):
        pickle.loads(sent)


def test_an_older_snapshot_can_be_opened(store: Store) -> None:
    assert [len(Store(store.folder, snapshot=n)) for n in (1, 2, 3)] == [5, 10, ROWS]
    old = Store(store.folder, snapshot=2)
    np.testing.assert_array_equal(old["fc"].to_scipy().toarray(), dense_rows(SMALL[2], range(10)))
    for wrong in (0, 4, -1, "1", True, 1.0):
        with pytest.raises(InputError, match=r"has no snapshot .*expected one of 1 to 3"):
            Store(store.folder, snapshot=wrong)  # type: ignore[arg-type]
