import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils.data import DataLoader  # noqa: E402

from sparsefeat.errors import InputError  # noqa: E402
from sparsefeat.store import LayerView, Store  # noqa: E402
from sparsefeat.torch import StoreIterableDataset, collate  # noqa: E402

ROWS = 23
MEMORY = 6000  # of some 300 bytes a dense row


def numbers(labels: Any) -> list[int]:
    """Row numbers from heights."""
    return [int(label) - 480 for label in labels]


def order(dataset: StoreIterableDataset) -> list[int]:
    return numbers(label for _, label in dataset)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("n_workers", [0, 2])
def test_every_row_comes_once_over_workers_and_ranks(
    store: Store, sparse: bool, shuffle: bool, batch_size: int | None, n_workers: int
) -> None:
    if n_workers and sys.platform != "linux":
        pytest.skip("forks are Linux'")
    seen = []
    for rank in range(2):
        dataset = StoreIterableDataset(
            store,
            "block5_pool",
            label="height",
            sparse=sparse,
            shuffle=shuffle,
            batch_size=batch_size,
            memory=MEMORY,
            rank=rank,
            world_size=2,
        )
        assert dataset.n_rows in (11, 12)
        loader = DataLoader(
            dataset,
            batch_size=None if batch_size else 4,
            num_workers=n_workers,
            multiprocessing_context="fork" if n_workers else None,
            collate_fn=None if batch_size else collate,
        )
        found = []
        for tensor, labels in loader:
            assert len(tensor) == len(labels) <= 4
            assert (tensor.layout == torch.sparse_csr) == sparse
            shape = (len(labels), 72) if sparse else (len(labels), 3, 3, 8)
            assert tensor.shape == shape
            expected = store["block5_pool"].to_numpy(numbers(labels)).reshape(shape)
            np.testing.assert_array_equal(tensor.to_dense(), expected)
            found += numbers(labels)
        assert len(found) == dataset.n_rows
        seen += found
    assert sorted(seen) == [*range(ROWS)]
    if not shuffle and not n_workers:
        assert seen == [*range(ROWS)]


def test_without_a_loader_samples_are_as_of_the_other_data_set(store: Store) -> None:
    samples = [*StoreIterableDataset(store, "fc", [5, 2])]
    np.testing.assert_array_equal(torch.stack(samples), store["fc"].to_numpy([2, 5]))
    sparse, label = next(iter(StoreIterableDataset(store, "fc", [7], label="label", sparse=True)))
    assert sparse.shape == (1, 40)
    assert label == 1


def test_an_epoch_s_order_follows_from_its_number_and_the_seed(store: Store) -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        dataset = StoreIterableDataset(
            store, "fc", label="height", shuffle=True, seed=seed, memory=MEMORY
        )
        dataset.set_epoch(epoch)
        return order(dataset)

    orders = [drawn(0, 0), drawn(0, 1), drawn(1, 0)]
    assert drawn(0, 1) == orders[1]
    assert len({tuple(each) for each in [*orders, range(ROWS)]}) == 4
    assert all(sorted(each) == [*range(ROWS)] for each in orders)


def test_neighbours_are_parted(store: Store) -> None:
    dataset = StoreIterableDataset(store, "fc", label="height", shuffle=True, memory=1600)
    steps = []
    for epoch in range(20):
        dataset.set_epoch(epoch)
        steps += np.abs(np.diff(order(dataset))).tolist()
    # Of a true permutation of 23 the mean step is 8.
    assert 6 < np.mean(steps) < 10


@pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux'")
def test_workers_that_stay_see_the_next_epoch(store: Store) -> None:
    dataset = StoreIterableDataset(store, "fc", label="height", shuffle=True)
    loader = DataLoader(
        dataset, 4, num_workers=1, persistent_workers=True, multiprocessing_context="fork"
    )
    seen = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        seen.append([number for _, labels in loader for number in numbers(labels)])
    assert seen[0] != seen[1]
    assert sorted(seen[0]) == sorted(seen[1]) == [*range(ROWS)]


def test_workers_may_be_spawned(store: Store) -> None:
    dataset = StoreIterableDataset(store, "fc", label="height", sparse=True, batch_size=10)
    loader = DataLoader(dataset, None, num_workers=1, multiprocessing_context="spawn")
    batches = [*loader]
    assert [len(labels) for _, labels in batches] == [10, 10, 3]
    np.testing.assert_array_equal(batches[2][0].to_dense(), store["fc"].to_numpy(slice(20, None)))


def test_reads_are_as_large_as_memory_lets_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    dense = LayerView.to_numpy

    def counting(self: LayerView, rows: Any) -> Any:
        asked.append(len(rows))
        return dense(self, rows)

    monkeypatch.setattr(LayerView, "to_numpy", counting)
    row_bytes = 40 * 4
    assert len([*StoreIterableDataset(store, "fc", memory=10 * row_bytes)]) == ROWS
    assert asked == [10, 10, 3]
    asked.clear()
    batched = StoreIterableDataset(store, "fc", batch_size=4, memory=10 * row_bytes, shuffle=True)
    assert len([*batched]) == 6
    assert asked == [8, 8, 7]


def test_a_batch_does_not_hold_on_to_what_was_read_with_it(store: Store) -> None:
    batch = next(iter(StoreIterableDataset(store, "fc", batch_size=2)))
    assert batch.untyped_storage().nbytes() == batch.numel() * 4
    sparse = next(iter(StoreIterableDataset(store, "fc", batch_size=2, sparse=True)))
    assert sparse.values().untyped_storage().nbytes() == sparse.values().numel() * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 100}, r"room for at least one row: row \d+ of fc takes"),
        ({"memory": 1000, "batch_size": 8}, "room for a batch: 8 rows may take 1.28 kB"),
        ({"batch_size": 0}, "got batch_size=0"),
        ({"rank": 2, "world_size": 2}, "got rank=2, expected 0 to 1"),
        ({"world_size": 0}, "got world_size=0"),
        ({"seed": -1, "shuffle": True}, "got seed=-1"),
        ({"label": "with"}, "no column 'with'"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    store: Store, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        StoreIterableDataset(store, "fc", **options)


def test_more_workers_than_rows(store: Store) -> None:
    shares = [
        [*StoreIterableDataset(store, "fc", [1, 2], label="height", rank=rank, world_size=5)]
        for rank in range(5)
    ]
    assert sorted(len(share) for share in shares) == [0, 0, 0, 1, 1]
    assert [*StoreIterableDataset(store, "fc", [], shuffle=True)] == []
