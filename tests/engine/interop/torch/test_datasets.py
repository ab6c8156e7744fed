import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch.utils.data import DataLoader  # noqa: E402

from sparsefeat.errors import InputError, LayerError  # noqa: E402
from sparsefeat.store import LayerView, Store, compact, vacuum  # noqa: E402
from sparsefeat.torch import StoreDataset, StoreIterableDataset, collate  # noqa: E402

from ...store.data import bytes_read, make_batch, write_store  # noqa: E402

ROWS = 23
LABELS = [number % 3 for number in range(ROWS)]
MEMORY = 6000  # of some 300 bytes per dense row


@pytest.fixture(scope="module")
def run_apart() -> Iterator[Callable[..., None]]:
    """Call a function in a process that has only the threads of its own reads.

    Workers that are forked from one with the threads of hundreds of other tests can hang.
    """
    if sys.platform != "linux":
        pytest.skip("forks are Linux'")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


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


def test_rows_have_the_requested_order(store: Store) -> None:
    rows = [20, 3, 3, -1]
    dataset = StoreDataset(store, "fc", rows, label="height")
    samples = [dataset[index] for index in range(4)]
    np.testing.assert_array_equal(torch.stack([s[0] for s in samples]), store["fc"].to_numpy(rows))
    assert [label for _, label in samples] == [500, 483, 483, 502]
    found = StoreDataset(store, "fc", store.where("height > 500"))
    assert len(found) == 2


def test_text_labels_are_numbered_over_the_whole_store(store: Store) -> None:
    dataset = StoreDataset(store, "fc", [2, 4], label="label")
    assert dataset.classes == ["folder 0", "folder 1", "folder 2"]
    assert [dataset[0][1], dataset[1][1]] == [2, 1]
    assert StoreDataset(store, "fc", label="width").classes == []


@pytest.mark.parametrize("sparse", [False, True])
def test_a_loader_gives_the_layer(store: Store, sparse: bool) -> None:
    check_loader(store, sparse, None)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_loader_with_workers_gives_the_layer(
    store: Store, run_apart: Callable[..., None], sparse: bool
) -> None:
    run_apart(check_loader, store, sparse, "fork")


def check_loader(store: Store, sparse: bool, context: str | None) -> None:
    _ = store["block5_pool"]  # threads are running here before the fork
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_batch_is_read_in_one_call(store: Store) -> None:
    sampler = [[4, 2, 1, 0], [3, 22]]
    loader = DataLoader(StoreDataset(store, "fc"), batch_sampler=sampler)
    assert len([*loader]) == 2  # row starts are cached from here on
    start = bytes_read()
    expected = [store["fc"].to_numpy(rows) for rows in sampler]
    middle = bytes_read()
    batches = [*loader]
    assert 0 < bytes_read() - middle <= 1.1 * (middle - start)
    for got, rows in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(got, rows)


def test_a_data_set_can_be_pickled_before_and_after_use(store: Store) -> None:
    dataset = StoreDataset(store, "fc", [5], label="label")
    for _ in range(2):
        other = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(other[0][0], dataset[0][0])
        assert other[0][1] == 2


def test_a_data_set_keeps_its_snapshot(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(9))], rows_per_part=4)
    sent = pickle.dumps(StoreDataset(tmp_path, "fc"))
    write_store(tmp_path, [make_batch(range(9, 11))])
    compact(tmp_path)
    assert len([*pickle.loads(sent)]) == 9
    vacuum(tmp_path, older_than=0)
    with pytest.raises(InputError, match="that vacuum has not deleted"):
        pickle.loads(sent)[0]


def test_wrong_names_are_reported(store: Store) -> None:
    with pytest.raises(LayerError, match="try block5_pool"):
        StoreDataset(store, "block5_pol")
    with pytest.raises(InputError, match="obs has no column 'lable' for labels: try label"):
        StoreDataset(store, "fc", label="lable")
    with pytest.raises(InputError, match="out of range"):
        StoreDataset(store, "fc", [ROWS])


def numbers(labels: Any) -> list[int]:
    """Compute row numbers from heights."""
    return [int(label) - 480 for label in labels]


def order(dataset: StoreIterableDataset) -> list[int]:
    return numbers(label for _, label in dataset)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_ranks_give_each_row_once(
    store: Store, sparse: bool, shuffle: bool, batch_size: int | None
) -> None:
    check_ranks(store, sparse, shuffle, batch_size, 0)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_workers_and_ranks_give_each_row_once(
    store: Store,
    run_apart: Callable[..., None],
    sparse: bool,
    shuffle: bool,
    batch_size: int | None,
) -> None:
    run_apart(check_ranks, store, sparse, shuffle, batch_size, 2)


def check_ranks(
    store: Store, sparse: bool, shuffle: bool, batch_size: int | None, n_workers: int
) -> None:
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


def test_without_a_loader_samples_equal_those_of_the_map_style_data_set(store: Store) -> None:
    samples = [*StoreIterableDataset(store, "fc", [5, 2])]
    np.testing.assert_array_equal(torch.stack(samples), store["fc"].to_numpy([2, 5]))
    sparse, label = next(iter(StoreIterableDataset(store, "fc", [7], label="label", sparse=True)))
    assert sparse.shape == (1, 40)
    assert label == 1


def test_the_order_of_an_epoch_depends_on_its_number_and_the_seed(store: Store) -> None:
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


def test_shuffling_separates_neighbours(store: Store) -> None:
    dataset = StoreIterableDataset(store, "fc", label="height", shuffle=True, memory=1600)
    distances = []
    for epoch in range(20):
        dataset.set_epoch(epoch)
        distances += np.abs(np.diff(order(dataset))).tolist()
    # In a random permutation of 23 numbers, neighbours differ by 8 on average.
    assert 6 < np.mean(distances) < 10


def test_persistent_workers_use_the_next_epoch(
    store: Store, run_apart: Callable[..., None]
) -> None:
    run_apart(check_epochs, store)


def check_epochs(store: Store) -> None:
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


def test_reads_are_as_large_as_memory_allows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_batch_does_not_keep_other_rows_in_memory(store: Store) -> None:
    batch = next(iter(StoreIterableDataset(store, "fc", batch_size=2)))
    assert batch.untyped_storage().nbytes() == batch.numel() * 4
    sparse = next(iter(StoreIterableDataset(store, "fc", batch_size=2, sparse=True)))
    assert sparse.values().untyped_storage().nbytes() == sparse.values().numel() * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 100}, r"room for at least one row: row \d+ of fc takes"),
        ({"memory": 1000, "batch_size": 8}, "a batch of 8 rows may take 1.28 kB"),
        ({"batch_size": 0}, "got batch_size=0"),
        ({"rank": 2, "world_size": 2}, "got rank=2, expected 0 to 1"),
        ({"world_size": 0}, "got world_size=0"),
        ({"seed": -1, "shuffle": True}, "got seed=-1"),
        ({"label": "with"}, "no column 'with'"),
    ],
)
def test_wrong_options_are_refused_at_once(
    store: Store, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        StoreIterableDataset(store, "fc", **options)


def test_more_workers_than_rows_are_accepted(store: Store) -> None:
    shares = [
        [*StoreIterableDataset(store, "fc", [1, 2], label="height", rank=rank, world_size=5)]
        for rank in range(5)
    ]
    assert sorted(len(share) for share in shares) == [0, 0, 0, 1, 1]
    assert [*StoreIterableDataset(store, "fc", [], shuffle=True)] == []
