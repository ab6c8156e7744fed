"""Vacuum deletes what is no longer part of a store, and only after a grace period."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import (
    InputError,
    StoreChangedError,
    StoreCorruptError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.storage import LocalStorage
from sparsefeat.store import (
    Store,
    StoreWriter,
    compact,
    history,
    open_store,
    remove,
    vacuum,
    verify,
)

from ...refusals import as_nobody
from ..conftest import WriterProcess
from ..data import SMALL, assert_same_floats, digests, leftovers, make_batch, write_store

N_PARTS = 4
HOUR = 3600

pytestmark = pytest.mark.usefixtures("without_fsync")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of one part, and the four smaller ones that it replaced."""
    folder = tmp_path / "store"
    for number in range(N_PARTS):
        write_store(folder, [make_batch([2 * number, 2 * number + 1])])
    compact(folder)
    return folder


def age(folder: Path, hours: float) -> None:
    """Set back the times of a folder and of everything in it."""
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        moment = status.st_mtime - hours * HOUR
        os.utime(path, (moment, moment), follow_symlinks=False)


def snapshots(folder: Path) -> list[int]:
    return [commit.snapshot for commit in history(folder)]


def assert_rows(opened: Store, numbers: list[int]) -> None:
    assert (opened.obs["bytes"] - 1000).tolist() == numbers
    expected = make_batch(numbers)
    for layer in SMALL:
        got = opened[layer.name].to_scipy().toarray()
        assert_same_floats(got, expected.layers[layer.name].to_scipy().toarray())


def assert_whole(folder: Path, numbers: list[int]) -> None:
    assert verify(folder).ok
    assert_rows(Store(folder), numbers)


def test_nothing_is_deleted_within_the_grace_period(store: Path) -> None:
    before = digests(store)
    done = vacuum(store)
    assert (done.parts, done.snapshots, done.leftovers, done.waiting) == (0, 0, 0, N_PARTS)
    assert len(leftovers(store)) == N_PARTS
    assert digests(store) == before
    assert snapshots(store) == [1, 2, 3, 4, 5]


def test_replaced_parts_are_deleted_after_the_grace_period(store: Path) -> None:
    replaced = leftovers(store)
    files = [file for part in replaced for file in part.rglob("*") if file.is_file()]
    stored = sum(file.stat().st_size for file in files)
    age(store, 25)
    calls: list[tuple[int, int]] = []
    planned = vacuum(store, dry_run=True, progress=lambda *now: calls.append(now))
    assert calls == [(number + 1, N_PARTS) for number in range(N_PARTS)]
    assert leftovers(store) == replaced
    done = vacuum(store)
    assert done == planned
    assert (done.parts, done.snapshots, done.waiting) == (N_PARTS, 4, 0)
    assert done.stored_bytes == stored
    assert done.allocated_bytes % 512 == 0
    assert done.allocated_bytes >= stored
    assert leftovers(store) == []
    assert snapshots(store) == [5]
    assert verify(store).findings == ()
    assert_whole(store, [*range(8)])
    assert vacuum(store).parts == 0


def test_the_grace_period_begins_when_a_snapshot_is_replaced(tmp_path: Path) -> None:
    """A reader of that snapshot has the whole period, however old its parts are."""
    for number in range(3):
        write_store(tmp_path, [make_batch([number])])
    age(tmp_path, 1000)
    reader = open_store(tmp_path)
    compact(tmp_path)
    assert vacuum(tmp_path).parts == 0
    assert snapshots(tmp_path)[-2:] == [3, 4]
    assert_rows(reader, [0, 1, 2])
    age(tmp_path, 23)
    assert vacuum(tmp_path).parts == 0
    assert_rows(open_store(tmp_path, snapshot=3), [0, 1, 2])
    age(tmp_path, 2)
    assert vacuum(tmp_path).parts == 3
    assert snapshots(tmp_path) == [4]
    with pytest.raises(StoreChangedError, match="vacuum deleted it, open the store again"):
        open_store(tmp_path).parts[0].__class__(reader.storage, reader.snapshot.parts[0])
    assert_whole(tmp_path, [0, 1, 2])


def test_a_recent_part_that_no_snapshot_lists_is_kept(store: Path) -> None:
    """Its writer may still be working, or may have been killed."""
    age(store, 1000)
    with StoreWriter.open(store, layers=SMALL, settings={"pool": "none"}, provenance={}) as writer:
        writer.append(make_batch([8]))
        done = vacuum(store)
        assert (done.parts, done.waiting) == (N_PARTS, 1)
    assert_whole(store, [*range(9)])


def test_a_writer_whose_part_was_deleted_gets_an_error(store: Path) -> None:
    writer = StoreWriter.open(store, layers=SMALL, settings={"pool": "none"}, provenance={})
    writer.append(make_batch([8]))
    assert vacuum(store, older_than=0).parts == N_PARTS + 1
    said = "a part was deleted while it was written, .*run the same command again"
    with pytest.raises(StoreWriteError, match=said):
        writer.close()
    assert_whole(store, [*range(8)])


def test_a_dry_run_needs_no_permission_to_write(store: Path) -> None:
    age(store, 100)
    with as_nobody(store):
        assert vacuum(store, dry_run=True).parts == N_PARTS
        with pytest.raises(StoreWriteError, match="can't be written"):
            vacuum(store)
    assert len(leftovers(store)) == N_PARTS


def test_leftovers_of_a_killed_writer_are_deleted(store: Path) -> None:
    vacuum(store, older_than=0)
    (listed,) = (store / "parts").iterdir()
    for name in ("0123456789abcdef", "fedcba9876543210"):
        shutil.copytree(listed, store / "parts" / f"{name}.zarr")
    (store / "parts" / "00112233aabbccdd.zarr").mkdir()  # a part that had only just begun
    age(store, 25)
    # One of them has a recent file deep inside.
    (store / "parts" / "0123456789abcdef.zarr" / "obs" / "path" / "c.0").touch()
    done = vacuum(store)
    assert (done.parts, done.waiting) == (2, 1)
    assert [path.stem for path in leftovers(store)] == ["0123456789abcdef"]
    assert_whole(store, [*range(8)])


def test_only_hidden_temporary_files_are_deleted(store: Path) -> None:
    vacuum(store, older_than=0)
    temporary = [store / each / ".0123.tmp" for each in ("", "parts", "snapshots")]
    others = [
        *(store / each / ".DS_Store" for each in ("", "parts", "snapshots")),
        *(store / each / "notes.tmp" for each in ("", "parts", "snapshots")),
        store / "snapshots" / ".lock",
        store / "snapshots" / "6.json",
        store / "parts" / "0123456789abcdef",
    ]
    for file in [*temporary[1:], *others]:
        file.write_text("")
    temporary[0].mkdir()
    (temporary[0] / "zarr.json").write_text("{}")
    assert vacuum(store).leftovers == 0
    age(store, 25)
    assert vacuum(store, dry_run=True).leftovers == 3
    assert vacuum(store).leftovers == 3
    assert not any(file.exists() for file in temporary)
    assert all(file.exists() for file in others)
    assert_whole(store, [*range(8)])


def test_snapshots_that_others_refer_to_are_kept(tmp_path: Path) -> None:
    for number in range(40):
        write_store(tmp_path, [make_batch([number])])
    expected = Store(tmp_path)
    chain = [each.number for each in expected.snapshot.chain]
    assert len(chain) > 1
    done = vacuum(tmp_path, older_than=0)
    assert (done.parts, done.snapshots) == (0, 40 - len(chain))
    assert snapshots(tmp_path) == sorted(chain)
    assert verify(tmp_path).findings == ()
    assert Store(tmp_path).obs.equals(expected.obs)
    write_store(tmp_path, [make_batch([40])])
    assert_whole(tmp_path, [*range(41)])


def test_an_older_snapshot_within_the_grace_period_keeps_its_bases(tmp_path: Path) -> None:
    """The newest one is full; the others are kept for readers of the previous one."""
    for number in range(30):
        write_store(tmp_path, [make_batch([number])])
    before = [each.number for each in Store(tmp_path).snapshot.chain]
    age(tmp_path, 1000)
    compact(tmp_path)
    done = vacuum(tmp_path)
    assert done.snapshots == 30 - len(before)
    assert snapshots(tmp_path) == [*sorted(before), 31]
    assert_rows(Store(tmp_path, snapshot=30), [*range(30)])


def test_removed_rows_can_be_read_within_the_grace_period(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0, 1]), make_batch([2, 3])], rows_per_part=2)
    remove(tmp_path, "bytes < 1002")  # all rows of a part
    vacuum(tmp_path)
    assert_rows(Store(tmp_path, snapshot=2), [0, 1, 2, 3])
    age(tmp_path, 25)
    assert vacuum(tmp_path).parts == 1
    assert_whole(tmp_path, [2, 3])


def test_a_vacuum_killed_at_any_moment_leaves_a_valid_store(
    writer_process: WriterProcess, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    for number in range(5):
        write_store(made, [make_batch([number])])
    compact(made)
    (made / "parts" / ".0123.tmp").mkdir()
    calm: Path = shutil.copytree(made, tmp_path / "calm")
    writer_process.start("dying", work="vacuum", folder=str(calm), dies_at=0)
    calls = writer_process.answer("calls")
    assert writer_process.finish() is None
    moments = np.linspace(1, calls, 14, dtype=int).tolist()
    folder = tmp_path / "killed"
    counts = set()
    for dies_at in moments:
        shutil.copytree(made, folder)
        writer_process.start("dying", work="vacuum", folder=str(folder), dies_at=dies_at)
        assert writer_process.was_killed()
        counts.add((len(leftovers(folder)), len(snapshots(folder))))
        assert_whole(folder, [*range(5)])
        # Every snapshot that can still be opened is complete, as long as its parts exist.
        for number in snapshots(folder):
            assert len(Store(folder, snapshot=number)) == min(number, 5)
        vacuum(folder, older_than=0)
        assert leftovers(folder) == []
        assert snapshots(folder) == [6]
        assert verify(folder).findings == ()
        shutil.rmtree(folder)
    assert len(counts) > 5


def test_commits_made_meanwhile_are_kept(store: Path) -> None:
    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            write_store(store, [make_batch([8])])

    age(store, 25)
    assert vacuum(store, progress=meanwhile).parts == N_PARTS
    assert_whole(store, [*range(9)])


def test_two_concurrent_vacuums_do_no_harm(store: Path) -> None:
    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            vacuum(store, older_than=0)

    assert vacuum(store, older_than=0, progress=meanwhile).snapshots == 4
    assert leftovers(store) == []
    assert_whole(store, [*range(8)])


def test_files_with_times_in_the_future_are_kept(store: Path) -> None:
    """A machine with a wrong clock wrote them; readers may still need them."""
    age(store, -48)
    assert vacuum(store).parts == 0
    assert vacuum(store, older_than=0).parts == N_PARTS
    assert_whole(store, [*range(8)])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_nothing_is_deleted_if_a_needed_snapshot_is_damaged(store: Path) -> None:
    before = sorted(store.rglob("*"))
    flip(store / "snapshots" / "00000004.json")
    with pytest.raises(StoreCorruptError, match=r"00000004\.json"):
        vacuum(store)
    assert sorted(store.rglob("*")) == before
    # After the grace period it isn't needed.
    assert vacuum(store, older_than=0).snapshots == 4
    assert_whole(store, [*range(8)])
    flip(store / "snapshots" / "00000005.json")
    before = sorted(store.rglob("*"))
    with pytest.raises(StoreCorruptError, match=r"00000005\.json"):
        vacuum(store, older_than=0)
    assert sorted(store.rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="links need a permission there")
def test_parts_may_be_links_to_another_disk(store: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    (store / "parts").rename(away)
    (store / "parts").symlink_to(away)
    (part,) = (away / each.key.removeprefix("parts/") for each in Store(store).parts)
    # If a part is a link, only the link is deleted.
    elsewhere = tmp_path / "elsewhere"
    replaced = leftovers(store)[0]
    replaced.rename(elsewhere)
    replaced.symlink_to(elsewhere)
    assert vacuum(store, older_than=0).parts == N_PARTS
    assert [*away.iterdir()] == [part]
    assert (elsewhere / "zarr.json").exists()
    assert_whole(store, [*range(8)])


def test_a_store_without_rows_can_be_vacuumed(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch([0, 1])])
    remove(tmp_path, "bytes > 0")
    assert vacuum(tmp_path, older_than=0).parts == 1
    (tmp_path / "parts").rmdir()  # some copying tools drop empty folders
    assert vacuum(tmp_path, older_than=0).parts == 0
    assert verify(tmp_path).ok
    write_store(tmp_path, [make_batch([1])])
    assert_whole(tmp_path, [1])


@pytest.mark.parametrize("refuses", ["delete", "age", "names"])
def test_a_write_error_leaves_a_valid_store(
    store: Path, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    before = digests(store)
    call: Callable[..., object] = getattr(LocalStorage, refuses)

    def refusing(storage: LocalStorage, key: str = "", **options: Any) -> object:
        if key != "snapshots":
            raise OSError(30, "Read-only file system")
        return call(storage, key, **options)

    monkeypatch.setattr(LocalStorage, refuses, refusing)
    with pytest.raises(StoreWriteError, match="Read-only file system"):
        vacuum(store, older_than=1e-9)
    monkeypatch.undo()
    assert digests(store) == before


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_invalid_grace_periods_are_refused(store: Path, seconds: float) -> None:
    with pytest.raises(InputError, match="expected seconds from 0 on"):
        vacuum(store, older_than=seconds)


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0123456789abcdef.zarr").mkdir()
    with pytest.raises(StoreNotFoundError):
        vacuum(tmp_path, older_than=0)
    assert (tmp_path / "parts" / "0123456789abcdef.zarr").exists()
