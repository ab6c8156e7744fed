"""Committed rows survive a loss of power between any two calls."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsefeat.errors import StoreNotFoundError
from sparsefeat.store import Store, StoreWriter, compact, remove, vacuum, verify
from sparsefeat_kernels import to_dense

from ..data import (
    SMALL,
    assert_same_floats,
    leftovers,
    make_batch,
    make_row,
    part_folders,
    write_store,
)
from ..power import Recorder, put, recorded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open files are found in /proc")


def rows_after(recorder: Recorder, tmp_path: Path) -> dict[str, list[int]]:
    """Lose power after each call in turn, check the store, and return the rows that are left.

    Raises
    ------
    AssertionError
        A store is damaged, or rows are missing that were committed before.
    """
    seen: dict[tuple[object, ...], list[int]] = {}
    counts: dict[str, list[int]] = {}
    before: dict[str, bytes | None] = {}
    (tmp_path / "after").mkdir()
    for moment in recorder.moments:
        for names in ("synced", "now", "below"):
            found = recorder.after(moment, names)
            key = tuple(sorted(found.items(), key=lambda item: item[0]))
            if key not in seen:
                put(found, tmp_path / "after", before)
                before = found
                seen[key] = read(tmp_path / "after" / "store")
            rows = seen[key]
            assert [int(mark) for mark in moment.marks] == rows[: len(moment.marks)], moment.what
            counts.setdefault(names, []).append(len(rows))
    return counts


def read(folder: Path) -> list[int]:
    """Check a store, and return the numbers of its images."""
    if not folder.exists():
        return []
    try:
        store = Store(folder)
    except StoreNotFoundError:
        return []
    assert [str(f) for f in verify(folder).findings if not f.harmless] == []
    numbers = [int(size) - 1000 for size in store.obs["bytes"]]
    expected = make_batch(numbers)
    for layer in SMALL:
        dense = store[layer.name].to_numpy().reshape(len(numbers), -1)
        assert_same_floats(dense, to_dense(expected.layers[layer.name]))
    return numbers


def write(folder: Path, committed: Callable[[str], None]) -> None:
    """Write parts of two rows, and mark when each row is committed."""
    settings = {"pool": "none"}
    with StoreWriter.open(folder, layers=SMALL, settings=settings, provenance={}) as writer:
        for number in (1, 3, 5):
            if writer.index.holds(make_row(number)):
                continue
            writer.append(make_batch([number, number + 1]))
            writer.commit()
            committed(str(number))
            committed(str(number + 1))


def test_a_new_store_survives_power_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with recorded(disk, monkeypatch) as recorder:
        write(disk / "store", recorder.mark)
    counts = rows_after(recorder, tmp_path)
    assert counts["synced"][0] == 0
    assert sorted(set(counts["synced"])) == sorted(set(counts["now"])) == [0, 2, 4, 6]


def test_appending_survives_power_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    write_store(disk / "store", [make_batch([1, 2])])
    leftover = disk / "store" / "parts" / "0123456789abcdef.zarr"
    leftover.mkdir()
    (leftover / "zarr.json").write_text("{")
    with recorded(disk, monkeypatch) as recorder:
        recorder.marks = ("1", "2")
        write(disk / "store", recorder.mark)
    counts = rows_after(recorder, tmp_path)
    assert set(counts["synced"]) == {2, 4, 6}


def test_compaction_and_vacuum_survive_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row exists once, whether replaced parts exist completely, partly or not at all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    write_store(disk / "store", [make_batch([1, 2]), make_batch([3, 4])], rows_per_part=2)
    with recorded(disk, monkeypatch) as recorder:
        recorder.marks = ("1", "2", "3", "4")
        outcome = compact(disk / "store", vacuum=True)
    assert (outcome.parts_before, outcome.parts_after) == (2, 1)
    assert any(moment.what in ("unlink", "rmdir") for moment in recorder.moments)
    assert set(rows_after(recorder, tmp_path)["now"]) == {4}


def test_vacuuming_a_chain_of_snapshots_survives_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for number in range(1, 4):
        write_store(disk / "store", [make_batch([number])])
    compact(disk / "store")
    for replaced in leftovers(disk / "store"):  # the test above covers these
        shutil.rmtree(replaced)
    with recorded(disk, monkeypatch) as recorder:
        recorder.marks = ("1", "2", "3")
        assert vacuum(disk / "store", older_than=0).snapshots == 3
    assert {*rows_after(recorder, tmp_path)["synced"]} == {3}


def test_a_removal_survives_power_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    write_store(disk / "store", [make_batch([1, 2, 3])])
    with recorded(disk, monkeypatch) as recorder:
        recorder.marks = ("1", "2")
        remove(disk / "store", "bytes == 1003")
    assert set(rows_after(recorder, tmp_path)["synced"]) == {2, 3}


def test_files_are_synced_in_the_required_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file and folder of the part, then the snapshot's content, its name, and its folder."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with recorded(disk, monkeypatch) as recorder:
        write_store(disk / "store", [make_batch([1, 2])])
    calls = [(moment.what, moment.path) for moment in recorder.moments]
    link = calls.index(("link", "store/snapshots/00000001.json"))
    what, path = calls[link - 1]
    assert (what, path.startswith("store/snapshots/.")) == ("fsync", True)
    assert ("fsync", "store/snapshots") in calls[link:]
    (part,) = part_folders(disk / "store")
    there = {str(each.relative_to(disk)) for each in (part, part.parent, *part.rglob("*"))}
    assert there <= {path for what, path in calls[:link] if what == "fsync"}
    # The store's folders are synced before anything is written in them.
    assert {("fsync", "."), ("fsync", "store")} <= set(calls[:link])
