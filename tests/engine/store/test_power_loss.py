"""Power is lost between any two calls: what was committed is there, and whole."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sparsefeat.errors import StoreNotFoundError
from sparsefeat.store import Store, StoreWriter, compact, folder, part_writer, verify
from sparsefeat_kernels import to_dense

from .data import SMALL, assert_same_floats, make_batch, make_row, write_store
from .power import Recorder, put, recorded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open files are found in /proc")


def rows_after(recorder: Recorder, tmp_path: Path) -> dict[str, list[int]]:
    """Lose power after each call in turn; the rows that were then read, each store sound.

    Raises
    ------
    AssertionError
        A store is damaged, or rows are missing that were committed before.
    """
    seen: dict[tuple[object, ...], list[int]] = {}
    counts: dict[str, list[int]] = {}
    for moment in recorder.moments:
        for names in ("synced", "now", "below"):
            found = recorder.after(moment, names)
            # What is under a hidden name is nobody's.
            visible = {name: stored for name, stored in found.items() if "/." not in f"/{name}"}
            key = tuple(sorted(visible.items(), key=lambda item: item[0]))
            if key not in seen:
                put(found, tmp_path / "after")
                seen[key] = read(tmp_path / "after" / "store")
            rows = seen[key]
            assert [int(mark) for mark in moment.marks] == rows[: len(moment.marks)], moment.what
            counts.setdefault(names, []).append(len(rows))
    return counts


def read(folder: Path) -> list[int]:
    """The numbers of a store's pictures; all else about it is checked."""
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
        dense = store.dense(layer.name).reshape(len(numbers), -1)
        assert_same_floats(dense, to_dense(expected.layers[layer.name]))
    return numbers


def write(folder: Path, committed: Callable[[str], None]) -> None:
    """Write parts of two rows, and say of each row when it is committed."""
    settings = {"pool": "none"}
    with StoreWriter.open(folder, layers=SMALL, settings=settings, provenance={}) as writer:
        for number in (1, 3, 5):
            if writer.index.holds(make_row(number)):
                continue
            writer.append(make_batch([number, number + 1]))
            writer.commit()
            committed(str(number))
            committed(str(number + 1))


def test_a_new_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with recorded(disk, monkeypatch) as recorder:
        write(disk / "store", recorder.mark)
    counts = rows_after(recorder, tmp_path)
    assert counts["synced"][0] == 0
    assert sorted(set(counts["synced"])) == sorted(set(counts["now"])) == [0, 2, 4, 6]


def test_a_store_that_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed writer left something, which is removed first."""
    disk = tmp_path / "disk"
    disk.mkdir()
    write_store(disk / "store", [make_batch([1, 2])])
    leftover = disk / "store" / ".part-00001.0123abcd.tmp"
    leftover.mkdir()
    (leftover / "zarr.json").write_text("{")
    with recorded(disk, monkeypatch) as recorder:
        recorder.marks = ("1", "2")
        write(disk / "store", recorder.mark)
    counts = rows_after(recorder, tmp_path)
    assert set(counts["synced"]) == {2, 4, 6}


def test_a_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are there once, whether the parts that were replaced are, or some of their files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    write_store(disk / "store", [make_batch([1, 2]), make_batch([3, 4])], rows_per_part=2)
    names = len(list((disk / "store").glob("part-*")))
    with recorded(disk, monkeypatch) as recorder:
        recorder.marks = ("1", "2", "3", "4")
        outcome = compact(disk / "store")
    assert (names, outcome.parts_after) == (2, 1)
    assert any(moment.what in ("unlink", "rmdir") for moment in recorder.moments)
    assert set(rows_after(recorder, tmp_path)["now"]) == {4}


class Killed(BaseException):
    """Ends a process where nothing can be said any more."""


def test_a_compaction_killed_before_names_are_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the new part's name nor the old ones' going is on the disk: others see to that."""
    store = tmp_path / "disk" / "store"
    store.parent.mkdir()
    write_store(store, [make_batch([1, 2]), make_batch([3, 4])], rows_per_part=2)

    def killed(path: Path) -> None:
        raise Killed

    with recorded(store.parent, monkeypatch) as recorder:
        recorder.marks = ("1", "2", "3", "4")
        for module in (part_writer, folder):
            with monkeypatch.context() as context:
                context.setattr(module, "sync", killed)
                with pytest.raises(Killed):
                    compact(store)
        compact(store)
    assert set(rows_after(recorder, tmp_path)["below"]) == {4}
    assert [path.name for path in store.glob("*part*")] == ["part-00002.zarr"]


def test_the_order_of_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file, every folder, then the name, then the folder that holds it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with recorded(disk, monkeypatch) as recorder:
        write_store(disk / "store", [make_batch([1, 2])])
    calls = [(moment.what, moment.path) for moment in recorder.moments]
    rename = calls.index(("rename", "store/part-00000.zarr"))
    assert calls[rename + 1] == ("fsync", "store")
    synced = {path.split(".tmp", 1)[1] for what, path in calls[:rename] if ".tmp" in path}
    part = disk / "store" / "part-00000.zarr"
    there = {f"/{path.relative_to(part).as_posix()}" for path in part.rglob("*")}
    assert synced == there | {""}
    # The store's folder is named before anything can be in it.
    assert calls.index(("fsync", ".")) < rename


def test_a_writer_that_does_not_sync_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this test is worth: each call that is left out is noticed."""
    for forgotten in ("sync_tree", "sync"):
        disk = tmp_path / forgotten
        disk.mkdir()
        with monkeypatch.context() as context:
            context.setattr(part_writer, forgotten, lambda path: None)
            with recorded(disk, context) as recorder:
                write(disk / "store", recorder.mark)
        with pytest.raises(Exception):  # noqa: B017  lost rows, or damage of any kind
            rows_after(recorder, tmp_path)
