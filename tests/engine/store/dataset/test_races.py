"""Writers that append the same rows to one store at the same time, some of which are killed."""

import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from sparsefeat.errors import StoreMismatchError, StoreWriteError
from sparsefeat.storage import LocalStorage
from sparsefeat.store import Store, StoreWriter, compact, history, remove, vacuum, verify
from sparsefeat.store.dataset.log import Log
from sparsefeat.store.dataset.snapshot import Change
from sparsefeat.types import Batch

from ..conftest import Process, WriterProcess, start_racer
from ..data import (
    SMALL,
    assert_same_floats,
    dense_rows,
    leftovers,
    make_batch,
    make_row,
    part_folders,
    write_store,
)

WRITERS = 4
ROWS = 120


def assert_each_row_once(folder: Path, count: int) -> None:
    report = verify(folder)
    assert report.ok, report.findings
    store = Store(folder)
    numbers = (store.obs["bytes"].to_numpy() - 1000).tolist()
    assert sorted(numbers) == [*range(count)]
    for layer in SMALL:
        expected = dense_rows(layer, numbers)
        assert_same_floats(store[layer.name].to_scipy().toarray(), expected)
        np.testing.assert_array_equal(
            store[layer.name].zeros().per_channel,
            (expected.reshape(-1, layer.n_channels) == 0).sum(axis=0),
        )


def test_racing_and_killed_writers_store_each_row_once(
    tmp_path: Path, racers: list[Process], race_seconds: float
) -> None:
    folder, moments = tmp_path / "store", random.Random(0)
    running = [start_racer(folder, ROWS, seed) for seed in range(WRITERS)]
    racers += running
    killed, deadline = 0, time.monotonic() + race_seconds
    while time.monotonic() < deadline:
        time.sleep(moments.uniform(0, 0.6))
        index = moments.randrange(WRITERS)
        if running[index].poll() is None:
            running[index].kill()
            killed += 1
        running[index].communicate()
        running[index] = start_racer(folder, ROWS, seed=moments.randrange(1000))
        racers.append(running[index])
    for process in running:
        out, err = process.communicate(timeout=300)
        assert out.endswith("done\n"), err
    assert killed > 2
    assert_each_row_once(folder, ROWS)
    compact(folder)
    assert_each_row_once(folder, ROWS)
    vacuum(folder, older_than=0)
    assert_each_row_once(folder, ROWS)


def writer(folder: Path, **options: object) -> StoreWriter:
    settings = {"settings": {"pool": "none"}, "provenance": {}, "rows_per_part": 4}
    return StoreWriter.open(folder, layers=SMALL, **(settings | options))  # type: ignore[arg-type]


def test_rows_of_two_writers_are_stored_once(tmp_path: Path) -> None:
    with writer(tmp_path) as first, writer(tmp_path) as second:
        first.append(make_batch([0, 1, 2]))
        second.append(make_batch([1, 2, 3, 4, 5]))  # commits a part of four
        first.commit()
        second.append(make_batch([0, 6]))
    assert_each_row_once(tmp_path, 7)
    assert [entry.n_excluded for entry in Store(tmp_path).snapshot.parts] == [0, 2, 1]


def test_two_writers_can_create_a_store(tmp_path: Path) -> None:
    with writer(tmp_path) as first, writer(tmp_path) as second:
        first.append(make_batch([0]))
        second.append(make_batch([0, 1]))
        second.commit()
        first.commit()  # a single row, which is stored by then
        first.append(make_batch([2]))
    assert_each_row_once(tmp_path, 3)
    assert [commit.rows for commit in history(tmp_path)] == [2, 3]


def test_a_store_just_created_with_other_settings_is_refused(tmp_path: Path) -> None:
    other = writer(tmp_path, settings={"pool": "avg"})
    other.append(make_batch([0]))
    write_store(tmp_path, [make_batch([1])])
    with pytest.raises(StoreMismatchError, match="pool: got 'avg', expected 'none'"):
        other.close()
    assert len(Store(tmp_path)) == 1


def test_a_store_just_created_with_another_order_of_layers_is_appended_to(tmp_path: Path) -> None:
    other = writer(tmp_path)
    other.append(make_batch([0]))
    write_store(tmp_path, [make_batch([1], SMALL[::-1])], SMALL[::-1])
    with pytest.raises(StoreMismatchError, match="in another order: run the same command again"):
        other.close()
    write_store(tmp_path, [make_batch([0])])
    assert (Store(tmp_path).obs["bytes"] - 1000).tolist() == [1, 0]
    assert verify(tmp_path).ok


def test_a_writer_without_rows_does_not_remove_another_s_folders(tmp_path: Path) -> None:
    """It removes only empty folders that it created, whether the other has begun a part or not."""
    for begun in (False, True):
        folder = tmp_path / f"store {begun}"
        idle, busy = writer(folder), writer(folder)
        if begun:
            busy.append(make_batch([0]))
        idle.close()
        assert folder.exists() == begun
        busy.append(make_batch([0, 1]))
        busy.close()
        assert_each_row_once(folder, 2)
    idle, busy = writer(tmp_path / "nothing"), writer(tmp_path / "nothing")
    idle.close()
    busy.close()
    assert not (tmp_path / "nothing").exists()


def test_a_writer_that_slept_does_not_take_a_freed_number(tmp_path: Path) -> None:
    """The number after the snapshot that it knows is free again, but lies below the newest one."""
    write_store(tmp_path, [make_batch([0])])
    sleeper, fresh = writer(tmp_path), tmp_path / "fresh"
    unborn = writer(fresh)  # has seen no snapshot
    for folder in (tmp_path, fresh):
        for number in range(1, 5):
            write_store(folder, [make_batch([number])])
        compact(folder, everything=True)
        vacuum(folder, older_than=0)
    assert not (tmp_path / "snapshots/00000002.json").exists()
    assert not (fresh / "snapshots/00000001.json").exists()
    sleeper.append(make_batch([5]))
    sleeper.close()
    assert_each_row_once(tmp_path, 6)
    unborn.append(make_batch([0]))
    unborn.close()
    assert_each_row_once(fresh, 5)


@pytest.mark.parametrize("before", ["open", "link"])
@pytest.mark.parametrize("work", ["first", "extract", "remove"])
def test_a_writer_that_slept_before_linking_does_not_take_a_freed_number(
    writer_process: WriterProcess, tmp_path: Path, work: str, before: str
) -> None:
    """Its number is below the newest one by then, so the commit would be lost."""
    if work != "first":
        write_store(tmp_path, [make_batch([0])])
    writer_process.start("sleeping", work=work, folder=str(tmp_path), before=before)
    writer_process.answer("sleeps")
    for number in range(10, 14):
        write_store(tmp_path, [make_batch([number])])
    compact(tmp_path, everything=True)
    vacuum(tmp_path, older_than=0)
    (newest,) = tmp_path.glob("snapshots/*.json")
    (tmp_path / ".awake").touch()
    if work == "remove":
        assert writer_process.finish() is None
        assert 1000 not in Store(tmp_path).obs["bytes"].tolist()
    else:
        assert writer_process.finish() == "StoreWriteError"  # because its part was deleted, too
        assert [*tmp_path.glob("snapshots/*.json")] == [newest]
    assert [*tmp_path.glob("snapshots/.*")] == []
    assert verify(tmp_path).ok


def test_a_part_that_was_deleted_is_not_committed(tmp_path: Path) -> None:
    """No snapshot lists it yet, so a vacuum without a grace period deletes it."""
    write_store(tmp_path, [make_batch([0])])
    log = Log(LocalStorage(tmp_path))
    (entry,) = Store(tmp_path).snapshot.parts
    gone = structs.replace(entry, name="0123456789abcdef")
    with pytest.raises(StoreWriteError, match="was deleted before it was committed"):
        log.commit(log.require(), lambda latest: Change(operation="", parts=[*latest.parts, gone]))
    assert_each_row_once(tmp_path, 1)


def test_two_updates_of_a_row_leave_one_row(tmp_path: Path) -> None:
    """Both saw the old row. Of two equal new rows one counts, of different ones the later."""
    write_store(tmp_path, [make_batch([0, 1, 2])])
    same, later = make_row(1, bytes=7), make_row(1, bytes=8)
    layers = make_batch([1]).layers
    with (
        writer(tmp_path, replace=True) as first,
        writer(tmp_path, replace=True) as second,
        writer(tmp_path, replace=True) as third,
    ):
        for each, row in ((first, same), (second, same), (third, later)):
            each.append(Batch(rows=(row,), layers=layers))
            each.commit()
    assert Store(tmp_path).obs["bytes"].tolist() == [1000, 1002, 8]
    assert verify(tmp_path).ok


@pytest.mark.parametrize(
    ("first_replaces", "second_replaces", "stands"),
    [(False, False, 7), (True, False, 7), (False, True, 8), (True, True, 8)],
)
def test_a_file_that_changes_between_two_writers_has_one_row(
    tmp_path: Path, first_replaces: bool, second_replaces: bool, stands: int
) -> None:
    """The row that was committed first, unless the second writer replaces rows."""
    write_store(tmp_path, [make_batch([0])])
    layers = make_batch([1]).layers
    one, other = make_row(1, bytes=7), make_row(1, bytes=8)
    with (
        writer(tmp_path, replace=first_replaces) as first,
        writer(tmp_path, replace=second_replaces) as second,
    ):
        first.append(Batch(rows=(one,), layers=layers))
        second.append(Batch(rows=(other,), layers=layers))
        first.commit()
        second.commit()
    assert Store(tmp_path).obs["bytes"].tolist() == [1000, stands]
    assert (first.duplicates, second.duplicates) == (0, int(stands == 7))
    # The loser deletes its part; a committed part is left to vacuum.
    assert len(leftovers(tmp_path)) == int(stands == 8)


def test_a_writer_replaces_rows_that_it_has_committed_itself(tmp_path: Path) -> None:
    """A file changes more than once while a writer is open."""
    layers = make_batch([1]).layers
    with writer(tmp_path, replace=True) as update:
        for size in (7, 8, 9):
            update.append(Batch(rows=(make_row(1, bytes=size),), layers=layers))
            update.append(make_batch([size]))
            update.commit()
    assert Store(tmp_path).obs["bytes"].tolist() == [1007, 1008, 9, 1009]
    assert update.duplicates == 0
    assert verify(tmp_path).ok


def test_images_without_files_are_identified_by_their_digests(tmp_path: Path) -> None:
    layers = make_batch([1]).layers
    with writer(tmp_path) as first, writer(tmp_path) as second:
        for each, digest in ((first, "00"), (second, "11")):
            row = make_row(1, root="", path="0", sha256=digest)
            each.append(Batch(rows=(row,), layers=layers))
    assert sorted(Store(tmp_path).obs["sha256"]) == ["00", "11"]


def test_a_row_is_replaced_even_if_its_part_was_compacted(tmp_path: Path) -> None:
    for number in range(4):
        write_store(tmp_path, [make_batch([number])])
    changed = Batch(rows=(make_row(2, bytes=7),), layers=make_batch([2]).layers)
    before = part_folders(tmp_path)
    with writer(tmp_path, replace=True) as update:
        update.append(changed)
        assert compact(tmp_path).parts_after == 1
        for part in before:  # as vacuum does
            shutil.rmtree(part)
    assert Store(tmp_path).obs["bytes"].tolist() == [1000, 1001, 1003, 7]
    assert verify(tmp_path).ok


def test_a_row_is_replaced_even_if_its_part_was_deleted(tmp_path: Path) -> None:
    """A writer that works for days knows parts that vacuum has deleted since."""
    for number in range(4):
        write_store(tmp_path, [make_batch([number])])
    changed = Batch(rows=(make_row(2, bytes=7),), layers=make_batch([2]).layers)
    with writer(tmp_path, replace=True) as update:
        compact(tmp_path, vacuum=True)
        update.append(changed)
    assert Store(tmp_path).obs["bytes"].tolist() == [1000, 1001, 1003, 7]
    assert verify(tmp_path).ok


def test_appending_and_removing_during_a_compaction_lose_nothing(tmp_path: Path) -> None:
    """Each commit follows the other, and a part that changed is not compacted."""
    for number in range(6):
        write_store(tmp_path, [make_batch([number])])

    def meanwhile(done: int, total: int) -> None:
        if not seen:
            seen.append(done)
            write_store(tmp_path, [make_batch([6])])
            remove(tmp_path, "bytes == 1001")

    seen: list[int] = []
    outcome = compact(tmp_path, rows_per_part=3, progress=meanwhile)
    assert outcome.lost == 1
    assert sorted(Store(tmp_path).obs["bytes"] - 1000) == [0, 2, 3, 4, 5, 6]
    assert verify(tmp_path).ok
    compact(tmp_path)
    assert (Store(tmp_path).obs["bytes"] - 1000).tolist() == [0, 2, 3, 4, 5, 6]
    assert Store(tmp_path).snapshot.parts[0].n_excluded == 0


def test_a_reader_keeps_its_snapshot(tmp_path: Path) -> None:
    for number in range(5):
        write_store(tmp_path, [make_batch([number])])
    before = Store(tmp_path)
    expected = before["fc"].to_scipy().toarray()
    write_store(tmp_path, [make_batch([5])])
    remove(tmp_path, "bytes < 1003")
    compact(tmp_path, everything=True)
    vacuum(tmp_path)  # within the grace period
    assert len(before) == 5
    assert_same_floats(before["fc"].to_scipy().toarray(), expected)
    assert_same_floats(Store(tmp_path, snapshot=5)["fc"].to_scipy().toarray(), expected)
    assert Store(tmp_path).obs["bytes"].tolist() == [1003, 1004, 1005]
