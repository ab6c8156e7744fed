import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils.data import DataLoader  # noqa: E402

from sparsefeat.errors import InputError, LayerError, StoreError  # noqa: E402
from sparsefeat.store import LayerView, Store  # noqa: E402
from sparsefeat.torch import StoreDataset, collate  # noqa: E402

from ...store.data import make_batch, part_folders, write_store  # noqa: E402

ROWS = 23
LABELS = [number % 3 for number in range(ROWS)]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_sample_is_a_row(store: Store, sparse: bool) -> None:
    dataset = StoreDataset(store.folder, "block5_pool", sparse=sparse)
    assert len(dataset) == ROWS
    for index in (3, -1):
        tensor = dataset[index]
        expected = store["block5_pool"].to_numpy([index])
        if sparse:
            assert tensor.layout == torch.sparse_csr
            np.testing.assert_array_equal(tensor.to_dense(), expected.reshape(1, -1))
        else:
            np.testing.assert_array_equal(tensor, expected[0])
    with pytest.raises(IndexError):
        dataset[ROWS]
    assert len([*dataset]) == ROWS


def test_rows_keep_the_order_they_were_asked_for_in(store: Store) -> None:
    rows = [20, 3, 3, -1]
    dataset = StoreDataset(store, "fc", rows, label="height")
    samples = [dataset[index] for index in range(4)]
    np.testing.assert_array_equal(torch.stack([s[0] for s in samples]), store["fc"].to_numpy(rows))
    assert [label for _, label in samples] == [500, 483, 483, 502]
    found = StoreDataset(store, "fc", store.where("height > 500"))
    assert len(found) == 2


def test_labels_of_text_are_places_among_those_of_the_whole_store(store: Store) -> None:
    dataset = StoreDataset(store, "fc", [2, 4], label="label")
    assert dataset.classes == ["folder 0", "folder 1", "folder 2"]
    assert [dataset[0][1], dataset[1][1]] == [2, 1]
    assert StoreDataset(store, "fc", label="width").classes == []


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("context", [None, "fork"])
def test_a_loader_gives_the_layer(store: Store, sparse: bool, context: str | None) -> None:
    _ = store["block5_pool"]  # threads are at work here before a fork
    dataset = StoreDataset(store, "block5_pool", label="label", sparse=sparse)
    loader = DataLoader(
        dataset,
        batch_size=5,
        num_workers=2 if context else 0,
        multiprocessing_context=context,
        collate_fn=collate,
    )
    tensors, labels = zip(*loader, strict=True)
    assert [len(batch) for batch in tensors] == [5, 5, 5, 5, 3]
    assert all((batch.layout == torch.sparse_csr) == sparse for batch in tensors)
    whole = torch.cat([batch.to_dense().reshape(len(batch), -1) for batch in tensors])
    np.testing.assert_array_equal(whole, store["block5_pool"].to_scipy().toarray())
    assert torch.cat(labels).tolist() == LABELS


def test_a_batch_is_one_call_of_the_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    dense = LayerView.to_numpy

    def counting(self: LayerView, rows: Any) -> Any:
        asked.append(rows.tolist())
        return dense(self, rows)

    monkeypatch.setattr(LayerView, "to_numpy", counting)
    sampler = [[4, 9, 1], [0, 22]]
    batches = [*DataLoader(StoreDataset(store, "fc"), batch_sampler=sampler)]
    assert asked == sampler
    np.testing.assert_array_equal(batches[0], dense(store["fc"], [4, 9, 1]))


def test_it_can_be_sent_before_and_after_it_was_used(store: Store) -> None:
    dataset = StoreDataset(store, "fc", [5], label="label")
    for _ in range(2):
        other = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(other[0][0], dataset[0][0])
        assert other[0][1] == 2


def test_a_store_that_changed_is_refused_where_it_is_opened(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(9))], rows_per_part=4)
    dataset = StoreDataset(tmp_path, "fc")
    sent = pickle.dumps(dataset)
    write_store(tmp_path, [make_batch(range(9, 11))])
    assert len([*pickle.loads(sent)]) == 9
    shutil.rmtree(part_folders(tmp_path)[1])
    other = pickle.loads(sent)
    with pytest.raises(StoreError, match="is not there any more"):
        other[0]


def test_wrong_names_are_said(store: Store) -> None:
    with pytest.raises(LayerError, match="try block5_pool"):
        StoreDataset(store, "block5_pol")
    with pytest.raises(InputError, match="no column 'lable', expected one for labels: try label"):
        StoreDataset(store, "fc", label="lable")
    with pytest.raises(InputError, match="out of range"):
        StoreDataset(store, "fc", [ROWS])
