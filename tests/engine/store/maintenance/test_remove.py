"""Removed rows are no longer in the store, and all others are unchanged."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.errors import InputError, StoreNotFoundError, StoreWriteError
from sparsefeat.storage import LocalStorage
from sparsefeat.store import Store, StoreWriter, compact, history, info, merge, remove, verify

from ...refusals import no_more_than
from ..conftest import WriterProcess
from ..data import (
    SMALL,
    assert_same_floats,
    dense_rows,
    digests,
    leftovers,
    make_batch,
    make_reject,
    make_row,
    write_store,
)

pytestmark = pytest.mark.usefixtures("without_fsync")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    batches = [make_batch(range(9), rejects=[make_reject(1)])]
    write_store(folder, batches, rows_per_part=3)
    return folder


def numbers(folder: Path) -> list[int]:
    return [int(size) - 1000 for size in Store(folder).obs["bytes"]]


def assert_rows(folder: Path, expected: list[int]) -> None:
    """Check that everything that can be read from the store belongs to these rows."""
    assert verify(folder).ok
    opened = Store(folder)
    assert (len(opened), numbers(folder)) == (len(expected), expected)
    for layer in SMALL:
        values = dense_rows(layer, expected)
        view = opened[layer.name]
        assert_same_floats(view.to_scipy().toarray(), values)
        assert_same_floats(view.to_numpy().reshape(values.shape), values)
        assert view.nnz == (values != 0).sum()
        zeros = view.zeros()
        assert zeros.per_row.tolist() == (values == 0).sum(axis=1).tolist()
        per_channel = (values.reshape(-1, layer.n_channels) == 0).sum(axis=0)
        assert zeros.per_channel.tolist() == per_channel.tolist()


def test_rows_that_match_a_condition_are_removed(store: Path) -> None:
    before = Store(store)
    done = remove(store, "label == 'folder 1' or bytes == 1000")
    assert (done.rows, done.rows_left) == (4, 5)
    assert_rows(store, [2, 3, 5, 6, 8])
    assert Store(store).rejected.equals(before.rejected)
    assert history(store)[-1].operation == "remove"
    assert history(store)[-1].added == -4
    assert info(store)["excluded"] == 4
    # An open store and the previous snapshot still have them.
    assert len(before["fc"][:].toarray()) == 9
    assert len(Store(store, snapshot=before.snapshot.number)) == 9
    assert remove(store, "bytes == 1003").rows_left == 4
    assert_rows(store, [2, 5, 6, 8])


def test_a_dry_run_and_a_condition_without_matches_change_nothing(store: Path) -> None:
    before = digests(store)
    done = remove(store, "bytes < 1004", dry_run=True)
    assert (done.rows, done.rows_left) == (4, 5)
    done = remove(store, "bytes < 1000")
    assert (done.rows, done.rows_left) == (0, 9)
    assert digests(store) == before


def test_a_part_without_rows_keeps_its_rejects(store: Path) -> None:
    remove(store, "bytes < 1006")
    first, last = Store(store).snapshot.parts
    assert (first.n_rows, first.rejected, last.n_rows) == (0, 1, 3)
    assert_rows(store, [6, 7, 8])
    assert Store(store).n_rejected == 1
    compact(store, everything=True)
    assert_rows(store, [6, 7, 8])
    assert Store(store).rejected["path"].tolist() == ["broken-1.png"]


def test_all_rows_can_be_removed(tmp_path: Path) -> None:
    write_store(tmp_path, [make_batch(range(3))])
    done = remove(tmp_path, "bytes > 0")
    assert (done.rows, done.rows_left) == (3, 0)
    assert_rows(tmp_path, [])
    assert info(tmp_path)["parts"] == 0
    assert compact(tmp_path).groups == ()
    assert remove(tmp_path, "bytes > 0").rows == 0
    assert merge(tmp_path, tmp_path.parent / f"{tmp_path.name}-other").rows == 0
    write_store(tmp_path, [make_batch([2, 1])])
    assert_rows(tmp_path, [2, 1])


def test_a_later_extraction_adds_removed_rows_again(store: Path) -> None:
    remove(store, "bytes == 1004")
    settings = {"pool": "none"}
    with StoreWriter.open(store, layers=SMALL, settings=settings, provenance={}) as writer:
        assert writer.index.statuses([make_row(4)]) == ["new"]
        assert writer.append(make_batch([3, 4])) == 1
    assert_rows(store, [0, 1, 2, 3, 5, 6, 7, 8, 4])


def commit_before_the_next(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object]) -> None:
    """Call a function just before the next commit, as if another process was faster."""
    create = LocalStorage.create

    def late(storage: LocalStorage, key: str, content: bytes, **options: Any) -> bool:
        monkeypatch.setattr(LocalStorage, "create", create)
        other()
        return create(storage, key, content, **options)

    monkeypatch.setattr(LocalStorage, "create", late)


def test_rows_appended_meanwhile_stay(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_before_the_next(monkeypatch, lambda: write_store(store, [make_batch([9])]))
    done = remove(store, "bytes >= 1007")
    assert (done.rows, done.rows_left) == (2, 8)
    assert_rows(store, [0, 1, 2, 3, 4, 5, 6, 9])


def test_rows_of_parts_that_were_compacted_meanwhile_are_removed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_before_the_next(monkeypatch, lambda: compact(store))
    done = remove(store, "bytes in [1001, 1007]")
    assert (done.rows, done.rows_left) == (2, 7)
    assert_rows(store, [0, 2, 3, 4, 5, 6, 8])
    assert len(Store(store).parts) == 1


def test_rows_that_were_removed_meanwhile_count_once(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_before_the_next(monkeypatch, lambda: remove(store, "bytes in [1000, 1001]"))
    done = remove(store, "bytes in [1001, 1002]")
    assert done.rows_left == 6
    assert_rows(store, [*range(3, 9)])
    commit_before_the_next(monkeypatch, lambda: remove(store, "bytes == 1005"))
    before = len(history(store))
    assert remove(store, "bytes == 1005").rows_left == 5
    assert len(history(store)) == before + 1


def test_a_compaction_skips_parts_that_changed_meanwhile(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the compaction of changed parts is given up, and it leaves no files."""
    commit_before_the_next(monkeypatch, lambda: remove(store, "bytes == 1001"))
    done = compact(store)
    assert (done.groups, done.lost, done.bytes_after) == ((), 1, 0)
    assert leftovers(store) == []
    assert_rows(store, [0, *range(2, 9)])
    assert compact(store).rows == 8
    assert_rows(store, [0, *range(2, 9)])


def test_two_concurrent_compactions_lose_no_row(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Store(store)
    commit_before_the_next(monkeypatch, lambda: compact(store, rows_per_part=6, everything=True))
    done = compact(store)
    assert (done.groups, done.lost) == ((), 1)
    assert_rows(store, [*range(9)])
    assert Store(store).obs.equals(expected.obs)
    assert len(Store(store).parts) == 2
    assert len(leftovers(store)) == 3  # the parts that the other one has replaced


def test_a_removal_killed_at_any_moment_is_complete_or_not_made(
    writer_process: WriterProcess, store: Path, tmp_path: Path
) -> None:
    calm: Path = shutil.copytree(store, tmp_path / "calm")
    writer_process.start("dying", work="remove", folder=str(calm), dies_at=0)
    calls = writer_process.answer("calls")
    assert writer_process.finish() is None
    left = numbers(calm)
    assert len(left) == 6
    seen = []
    for dies_at in range(1, calls + 1):
        folder: Path = shutil.copytree(store, tmp_path / f"killed {dies_at}")
        writer_process.start("dying", work="remove", folder=str(folder), dies_at=dies_at)
        assert writer_process.was_killed()
        seen.append(numbers(folder))
        assert_rows(folder, seen[-1])
        remove(folder, "bytes % 3 == 0")
        assert_rows(folder, left)
    assert [*range(9)] in seen
    assert left in seen
    assert all(each in ([*range(9)], left) for each in seen)


def test_a_write_error_removes_nothing(store: Path) -> None:
    with (
        no_more_than(resource.RLIMIT_FSIZE, 100),
        pytest.raises(StoreWriteError, match="File too large"),
    ):
        remove(store, "bytes == 1001")
    assert_rows(store, [*range(9)])


def test_invalid_conditions_and_missing_stores_are_refused(store: Path) -> None:
    before = digests(store)
    for condition in ("", "size > 3", "bytes >", "bytes"):
        with pytest.raises(InputError, match="condition"):
            remove(store, condition)
    assert digests(store) == before
    with pytest.raises(StoreNotFoundError, match="nowhere"):
        remove(store / "nowhere", "bytes > 3")
