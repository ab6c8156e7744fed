"""Stores in buckets behave like stores in folders, whatever the network does."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import (
    InputError,
    StoreChangedError,
    StoreError,
    StoreReadError,
    StoreWriteError,
)
from sparsefeat.interop.conversion import convert
from sparsefeat.storage import open_storage
from sparsefeat.store import Store, StoreWriter, compact, history, merge, remove, vacuum, verify
from sparsefeat.store.format import part_key
from sparsefeat.types import Batch, Layer

from ...buckets import BUCKET, OPEN_BUCKET, Fault, Proxy, new_url, on_each_server, put_any_key
from ..conftest import ROOT, Process, start_racer
from ..data import (
    SMALL,
    assert_same_floats,
    dense_rows,
    make_batch,
    make_reject,
    make_row,
    write_store,
)

ROWS = 60


def assert_each_row_once(url: str, count: int) -> None:
    report = verify(url)
    assert report.ok, report.findings
    store = Store(url)
    numbers = (store.obs["bytes"].to_numpy() - 1000).tolist()
    assert sorted(numbers) == [*range(count)]
    for layer in SMALL:
        expected = dense_rows(layer, numbers)
        assert_same_floats(store[layer.name].to_scipy().toarray(), expected)


def writer(url: str, **options: Any) -> StoreWriter:
    settings: dict[str, Any] = {"settings": {"pool": "none"}, "provenance": {}, "rows_per_part": 4}
    return StoreWriter.open(url, layers=SMALL, **(settings | options))


@on_each_server
def test_a_bucket_and_a_folder_give_the_same_rows(url: str, tmp_path: Path) -> None:
    batches = [make_batch(range(7), rejects=[make_reject(1)]), make_batch(range(7, 13))]
    for location in (url, tmp_path / "local"):
        write_store(location, batches, rows_per_part=4)
        write_store(location, [make_batch(range(10, 15))])  # three of them are stored already
        remove(location, "bytes == 1002")
    store, local = Store(url), Store(tmp_path / "local")
    assert store.obs.equals(local.obs)
    assert store.rejected.equals(local.rejected)
    order = np.array([3, 0, 13, 7, 7])
    for name in store.layers:
        assert_same_floats(store[name].to_numpy(order), local[name].to_numpy(order))
        theirs, ours = store[name][:], local[name][:]
        assert_same_floats(theirs.data, ours.data)
        np.testing.assert_array_equal(theirs.indices, ours.indices)
        np.testing.assert_array_equal(store[name].zeros().per_channel, ours_zeros(local, name))
    assert [each.rows for each in history(url)] == [each.rows for each in history(local.folder)]
    assert [entry.n_bytes for entry in store.snapshot.parts] == [
        open_storage(url).usage(part_key(entry.name))[0] for entry in store.snapshot.parts
    ]


def ours_zeros(store: Store, name: str) -> Any:
    return store[name].zeros().per_channel


@on_each_server
def test_snapshots_compaction_and_vacuum_work(url: str) -> None:
    for number in range(4):
        write_store(url, [make_batch([number])])
    before = Store(url)
    early = Store(url, snapshot=2)
    with pytest.raises(InputError, match="has no snapshot 9"):
        Store(url, snapshot=9)
    compact(url)
    assert vacuum(url, dry_run=True).waiting == 4
    assert vacuum(url, older_than=0).parts == 4
    assert_each_row_once(url, 4)
    for old in (before, early):
        with pytest.raises(StoreChangedError, match="is not there any more: if sparsefeat vacuum"):
            old["fc"].to_numpy()
    storage = open_storage(url)
    listed = {f"{part_key(each.name)}/" for each in Store(url).snapshot.parts}
    assert {f"parts/{name.split('/')[0]}/" for name, _ in storage.list_files("parts")} == listed
    assert [name for name, _ in storage.list_files("snapshots")] == ["00000005.json"]
    # SeaweedFS still lists the folders of deleted objects.
    assert verify(url).findings == ()
    assert vacuum(url, older_than=0).parts == 0


def test_a_writer_that_is_closed_without_rows_leaves_no_objects(url: str) -> None:
    writer(url).close()
    assert [*open_storage(url).list_files("")] == []
    with pytest.raises(StoreError, match=r"there is nothing at s3://bucket/.*, expected a store"):
        Store(url)


@pytest.mark.parametrize("endpoint", ["moto"], indirect=True)
def test_a_key_that_can_not_be_listed_is_named(endpoint: str, url: str) -> None:
    put_any_key(endpoint, f"{url.removeprefix(f's3://{BUCKET}/')}/a//b.jpg", b"1")
    with pytest.raises(StoreReadError, match=r"can't be listed: in the key '.*a//b.jpg'"):
        Store(url)


def test_anndata_and_convert_read_a_bucket(url: str, tmp_path: Path) -> None:
    write_store(url, [make_batch(range(6))], rows_per_part=4)
    lazy = Store(url).anndata()
    expected = dense_rows(SMALL[0], range(6))
    assert_same_floats(lazy.obsm["block5_pool"].compute().toarray(), expected)
    convert(url, tmp_path / "rows.npz", layers="fc")
    assert (tmp_path / "rows.npz").stat().st_size > 1000


def test_torch_reads_rows_in_spawned_workers(url: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from sparsefeat.torch import StoreIterableDataset

    write_store(url, [make_batch(range(6))], rows_per_part=4)
    dataset = StoreIterableDataset(Store(url), "fc", batch_size=3)
    loader = torch.utils.data.DataLoader(
        dataset, None, num_workers=1, multiprocessing_context="forkserver"
    )
    read = np.concatenate([batch.numpy() for batch in loader])
    assert_same_floats(read.reshape(6, -1), dense_rows(SMALL[2], range(6)))


@pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux'")
def test_torch_is_told_not_to_fork(url: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from sparsefeat.torch import StoreIterableDataset

    write_store(url, [make_batch(range(6))])
    dataset = StoreIterableDataset(Store(url), "fc", batch_size=3)
    loader = torch.utils.data.DataLoader(
        dataset, None, num_workers=1, multiprocessing_context="fork"
    )
    with pytest.raises(StoreError, match='multiprocessing_context="forkserver"'):
        next(iter(loader))


# --- several writers ---


@on_each_server
def test_racing_and_killed_writers_store_each_row_once(
    url: str, racers: list[Process], race_seconds: float
) -> None:
    moments = random.Random(0)
    racers += [start_racer(url, ROWS, seed) for seed in range(3)]
    deadline, killed = time.monotonic() + race_seconds / 2, 0
    while not killed or time.monotonic() < deadline:
        time.sleep(moments.uniform(0.5, 2.5))
        index = moments.randrange(3)
        killed += racers[-3:][index].poll() is None
        racers[-3:][index].kill()
        racers.append(start_racer(url, ROWS, moments.randrange(1000)))
        racers.insert(-3, racers.pop(-4 + index))
    for process in racers[-3:]:
        out, err = process.communicate(timeout=300)
        assert out.endswith("done\n"), err
    assert_each_row_once(url, ROWS)
    vacuum(url, older_than=0)
    assert_each_row_once(url, ROWS)
    listed = {part_key(each.name) for each in Store(url).snapshot.parts}
    assert {
        f"parts/{name.split('/')[0]}" for name, _ in open_storage(url).list_files("parts")
    } == listed


@on_each_server
def test_writers_that_begin_at_once_are_not_refused(url: str) -> None:
    def begin(_: int) -> None:
        for _ in range(10):
            writer(url).close()

    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(begin, range(4))] == [None] * 4
    assert [*open_storage(url).list_files("")] == []


@on_each_server
def test_rows_of_two_writers_are_stored_once(url: str) -> None:
    with writer(url) as first, writer(url) as second:
        first.append(make_batch([0, 1, 2]))
        second.append(make_batch([1, 2, 3, 4, 5]))
        first.commit()
        second.append(make_batch([0, 6]))
    assert_each_row_once(url, 7)


def test_an_incomplete_part_is_not_committed(url: str) -> None:
    """A vacuum deleted some of its objects while the rest was uploaded."""
    with writer(url) as first:
        first.append(make_batch(range(4)))
    storage = open_storage(url)
    second = writer(url)
    second.append(make_batch([4, 5]))
    create = type(storage).create

    def late(self: Any, key: str, content: bytes, **options: Any) -> bool:
        part = next(
            name.split("/")[0]
            for name, _ in storage.list_files("parts")
            if part_key(Store(url).snapshot.parts[0].name) != f"parts/{name.split('/')[0]}"
        )
        storage.delete(f"parts/{part}/obs/path")
        return create(self, key, content, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(storage), "create", late)
        with pytest.raises(StoreWriteError, match="was deleted before it was committed"):
            second.close()
    assert_each_row_once(url, 4)


def asleep(proxy: Proxy, url: str, others: int) -> None:
    """Delay the next commit while others commit and vacuum without a grace period."""

    def wait(method: str, path: str) -> Fault:
        if method == "PUT" and "/snapshots/" in path and path.endswith(".json"):
            proxy.fault = lambda method, path: None
            for number in range(others):
                write_store(url, [make_batch([10 + number])])
            vacuum(url, older_than=0)
        return None

    proxy.fault = wait


@pytest.mark.parametrize("others", [0, 3])
def test_a_commit_whose_part_was_deleted_is_reverted(proxy: Proxy, url: str, others: int) -> None:
    for numbers in (range(2), range(2, 4)):  # later snapshots refer to the second
        write_store(url, [make_batch(numbers)])
    late = writer(url)
    late.append(make_batch([20, 21]))
    asleep(proxy, url, others)
    with pytest.raises(StoreWriteError, match="was deleted before it was committed"):
        late.close()
    assert verify(url).ok
    expected = [*range(4), *range(10, 10 + others)]
    assert (Store(url).obs["bytes"] - 1000).tolist() == expected
    assert [commit.rows for commit in history(url)][-1] == len(expected)
    with writer(url) as again:
        again.append(make_batch([20, 21]))
    assert (Store(url).obs["bytes"] - 1000).tolist() == [*expected, 20, 21]


def test_a_reverted_update_restores_the_replaced_rows(proxy: Proxy, url: str) -> None:
    with writer(url) as first:
        first.append(make_batch(range(4)))
    late = writer(url, replace=True)
    batch = make_batch([20, 21])
    rows = tuple(make_row(number, bytes=5) for number in (1, 2))
    late.append(dataclasses.replace(batch, rows=rows))
    asleep(proxy, url, 0)
    with pytest.raises(StoreWriteError, match="was deleted before it was committed"):
        late.close()
    assert_each_row_once(url, 4)


def test_a_commit_below_the_newest_snapshot_is_repeated(proxy: Proxy, url: str) -> None:
    """Its number had become free again."""
    for numbers in (range(2), range(2, 4)):  # later snapshots refer to the second
        write_store(url, [make_batch(numbers)])
    asleep(proxy, url, 3)
    assert remove(url, "bytes == 1002").rows_left == 6
    assert (Store(url).obs["bytes"] - 1000).tolist() == [0, 1, 3, 10, 11, 12]
    report = verify(url)
    assert report.ok, report.findings
    assert [commit.snapshot for commit in history(url)] == [1, 2, 5, 6]


# --- network failures ---


def some(fault: Fault, seed: int, share: float) -> Any:
    moments = random.Random(seed)
    return lambda method, path: fault if moments.random() < share else None


@pytest.mark.parametrize("fault", ["drop", "lose", "truncate", 503])
def test_an_unreliable_network_duplicates_no_row(proxy: Proxy, url: str, fault: Fault) -> None:
    proxy.fault = some(fault, 1, 0.2)
    for start in (0, 8):
        with writer(url) as each:
            each.append(make_batch(range(start, start + 10), rejects=[make_reject(start)]))
    proxy.fault = lambda method, path: None
    assert_each_row_once(url, 18)
    assert [commit.rows for commit in history(url)] == [4, 8, 10, 14, 18]
    assert len(Store(url).rejected) == 2


@on_each_server
@pytest.mark.parametrize("fault", ["lose", 409])
def test_lost_answers_to_commits_lose_no_row(proxy: Proxy, url: str, fault: Fault) -> None:
    asked: set[str] = set()

    def first(method: str, path: str) -> Fault:
        if method != "PUT" or not path.endswith(".json") or "/parts/" in path or path in asked:
            return None
        asked.add(path)
        return fault

    proxy.fault = first
    with writer(url) as each:
        each.append(make_batch(range(10)))
    assert len(asked) == 3
    assert_each_row_once(url, 10)
    assert [commit.rows for commit in history(url)] == [4, 8, 10]


def test_committed_rows_survive_the_end_of_the_server(proxy: Proxy, url: str) -> None:
    each = writer(url)
    each.append(make_batch(range(6)))
    proxy.fault = lambda method, path: 403
    with pytest.raises(StoreWriteError, match=r"can't be written \(.*403 Forbidden\).*are safe"):
        each.close()
    proxy.fault = lambda method, path: None
    assert_each_row_once(url, 4)
    with writer(url) as again:
        again.append(make_batch(range(6)))
    assert_each_row_once(url, 6)


def test_a_server_that_ignores_the_condition_gets_no_store(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    proxy.fault = lambda method, path: "strip"
    url = new_url(OPEN_BUCKET)
    with pytest.raises(StoreWriteError, match="ignores If-None-Match"):
        writer(url)
    assert [*open_storage(url).list_files("")] == []


INTERRUPTED = """
import sys
from sparsefeat.store import StoreWriter
from tests.engine.store.data import SMALL, make_batch
try:
    with StoreWriter.open(
        sys.argv[1], layers=SMALL, settings={"pool": "none"}, provenance={}, rows_per_part=4
    ) as writer:
        for number in range(0, 1000, 2):
            writer.append(make_batch([number, number + 1]))
            print(number, flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_extraction_is_continued(url: str, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "10\n":
                os.kill(process.pid, number)
                break
        out, _ = process.communicate(timeout=60)
    assert process.returncode == (0 if number == signal.SIGINT else -number)
    rows = len(Store(url))
    assert rows >= 8
    assert rows % 4 == 0 or out.endswith("interrupted\n")
    assert_each_row_once(url, rows)
    with writer(url) as again:
        todo = [number for number in range(20) if not again.index.holds(make_row(number))]
        again.append(make_batch(todo))
    assert_each_row_once(url, max(20, rows))


# --- requests ---


@pytest.mark.parametrize("command", ["compact", "merge", "into"])
def test_several_parts_are_opened_at_a_time(
    proxy: Proxy, url: str, tmp_path: Path, command: str
) -> None:
    """None of the first four requests is answered before all of them have arrived."""
    for number in range(6):
        write_store(url, [make_batch([number])])
    write_store(tmp_path, [make_batch([9])])
    together, asked = Barrier(4), iter(range(4))

    def wait(method: str, path: str) -> Fault:
        if method == "GET" and path.endswith(".zarr/zarr.json") and next(asked, None) is not None:
            together.wait(60)
        return None

    proxy.fault = wait
    if command == "compact":
        compact(url)
    elif command == "merge":
        merge(url, tmp_path)
    else:
        merge(tmp_path, url)
    assert not together.broken
    assert next(asked, None) is None
    assert len(Store(tmp_path if command == "merge" else url)) == 6 + (command != "compact")


def test_numbers_of_requests_are_as_documented(proxy: Proxy, url: str) -> None:
    """Services charge for requests, and each takes tens of milliseconds."""

    def counted() -> int:
        count = len(proxy.requests)
        proxy.requests.clear()
        return count

    with writer(url, rows_per_part=20) as each:
        each.append(make_batch(range(20)))
        each.commit()
        files = len([*open_storage(url).list_files("parts")])
        assert counted() - files <= 17  # to open, test and commit
    for number in range(20, 23):
        write_store(url, [make_batch([number])])
    counted()
    store = Store(url)
    assert counted() <= 4  # the snapshots' names, the newest one, and one or two that it refers to
    for layer in store.layers:
        store = Store(url)
        counted()
        store[layer][3]
        assert counted() <= 3  # the part's metadata, indices, values
        store[layer][4]
        assert counted() <= 2
        store[layer][[5, 20, 21, 22]]
        assert counted() <= 2 + 3 * 3


@pytest.mark.parametrize("values", ["float32", "float16", "uint8"])
def test_a_row_takes_three_requests_however_large_it_is(
    proxy: Proxy, url: str, tmp_path: Path, values: str
) -> None:
    """And the copies in its metadata equal the files."""
    rng, rows = np.random.default_rng(0), 12
    layers = [Layer(name="sparse", shape=(1 << 19, 2)), Layer(name="full", shape=(1 << 19,))]
    dense = {
        layer.name: np.abs(rng.normal(size=(rows, layer.n_features))).astype(np.float32)
        for layer in layers
    }
    dense["sparse"][rng.random(dense["sparse"].shape) < 0.7] = 0
    options: dict[str, Any] = {"layers": layers, "settings": {}, "provenance": {}}
    for location in (url, tmp_path / "local"):
        with StoreWriter.open(location, values=values, **options) as each:
            each.append(Batch(rows=tuple(map(make_row, range(rows))), layers=dense))
    local = Store(tmp_path / "local")
    assert [part.layers[name].encoding for part in local.parts for name in dense] == [
        "csr",
        "dense",
    ]
    for name in dense:
        for row in (0, 7, 11):
            store = Store(url)
            proxy.requests.clear()
            read = store[name].to_numpy([row])
            assert len(proxy.requests) <= 3
            assert_same_floats(read, local[name].to_numpy([row]))
        assert_same_floats(store[name].to_numpy(), local[name].to_numpy())
    assert verify(url).ok


def test_verify_compares_copies_in_the_header_with_the_files(url: str) -> None:
    write_store(url, [make_batch(range(6))])
    storage, (part,) = open_storage(url), Store(url).parts
    name = f"{part.key}/obsm/block5_pool/indptr/c.0"
    content = storage.read(name, 10**6)
    storage.delete(name)
    assert storage.create(name, content[:-1] + bytes([content[-1] ^ 1]))
    expected = dense_rows(SMALL[0], range(6))
    assert_same_floats(Store(url)["block5_pool"].to_scipy().toarray(), expected)
    said = [finding.what for finding in verify(url).findings]
    assert any("indptr/c.0 is not what the header repeats of it" in what for what in said)
    assert any("wrong checksum" in what for what in said)
