"""Merging adds each row once, and doesn't change the sources."""

import resource
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparsefeat.errors import (
    InputError,
    StoreCorruptError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.store import Store, StoreWriter, compact, merge, remove, verify
from sparsefeat.types import Batch, Layer

from ...refusals import no_more_than
from ..data import (
    SMALL,
    digests,
    leftovers,
    make_batch,
    make_reject,
    make_row,
    part_folders,
    write_store,
)

pytestmark = pytest.mark.usefixtures("without_fsync")


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two stores that share rows 4 and 5, and where to merge them."""
    monday, tuesday = tmp_path / "monday", tmp_path / "tuesday"
    write_store(
        monday, [make_batch(range(6), rejects=[make_reject(1, reason="early")])], rows_per_part=2
    )
    write_store(
        tuesday,
        [make_batch(range(4, 9), rejects=[make_reject(1, reason="late"), make_reject(2)])],
        rows_per_part=3,
        provenance={"tool": "another"},
    )
    return monday, tuesday, tmp_path / "week"


def numbers(folder: Path) -> list[int]:
    return [int(size) - 1000 for size in Store(folder).obs["bytes"]]


def test_rows_are_merged_once_in_the_order_of_the_sources(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    before = [digests(monday), digests(tuesday)]
    calls: list[tuple[int, int]] = []
    done = merge([monday, tuesday], week, progress=lambda *now: calls.append(now))
    assert (done.rows, done.duplicates, done.rejected, done.parts) == (9, 2, 2, 1)
    assert not done.stopped
    assert done.bytes_added == sum(
        file.stat().st_size for file in week.glob("parts/**/*") if file.is_file()
    )
    assert numbers(week) == list(range(9))
    assert calls[0][1] == 9
    assert [digests(monday), digests(tuesday)] == before
    assert verify(week).findings == ()
    expected = make_batch(range(9))
    for name, csr in expected.layers.items():
        got = Store(week)[name].to_scipy()
        np.testing.assert_array_equal(got.indices, csr.indices)
        np.testing.assert_array_equal(got.data.view(np.uint32), csr.data.view(np.uint32))
    assert list(Store(week).rejected["reason"]) == ["late", "truncated"]
    (part,) = Store(week).parts
    assert [(origin.rows, origin.provenance) for origin in part.header.origins] == [
        (6, {"tool": "test"}),
        (3, {"tool": "another"}),
    ]


def test_merging_again_adds_nothing(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    merge([monday, tuesday], week)
    before = digests(week)
    done = merge([monday, tuesday], week)
    assert (done.rows, done.rejected, done.parts, done.bytes_added) == (0, 0, 0, 0)
    assert done.duplicates == 11
    assert digests(week) == before


def test_merging_appends_to_an_existing_store(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, _ = stores
    before = digests(monday)
    done = merge(tuesday, monday)
    assert (done.rows, done.duplicates, done.rejected) == (3, 2, 1)
    assert numbers(monday) == list(range(9))
    assert before.items() <= digests(monday).items()
    # The output's own record of a reject is preserved.
    assert sorted(Store(monday).rejected["reason"]) == ["early", "truncated"]
    assert verify(monday).findings == ()


def test_parts_are_joined_and_never_split(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    merge([monday, tuesday], week, rows_per_part=4)
    assert [part.header.rows for part in Store(week).parts] == [4, 3, 2]
    shutil.rmtree(week)
    merge([monday, tuesday], week, rows_per_part=1)
    assert [part.header.rows for part in Store(week).parts] == [2, 2, 2, 1, 2]


def test_a_stopped_merge_can_be_continued(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    stop = threading.Event()
    done = merge(
        [monday, tuesday], week, rows_per_part=4, progress=lambda *_: stop.set(), stop=stop
    )
    assert (done.stopped, done.parts, numbers(week)) == (True, 1, [0, 1, 2, 3])
    assert verify(week).findings == ()
    assert not merge([monday, tuesday], week, rows_per_part=4).stopped
    assert numbers(week) == list(range(9))
    assert list(Store(week).rejected["reason"]) == ["late", "truncated"]


def test_rejects_whose_image_has_a_row_elsewhere_are_dropped(tmp_path: Path) -> None:
    tried = make_reject(1)
    row = make_row(1, path=tried.path, bytes=tried.bytes, mtime_ns=tried.mtime_ns)
    write_store(tmp_path / "a", [make_batch([], rejects=[tried])])
    write_store(tmp_path / "b", [Batch(rows=(row,), layers=make_batch([1]).layers)])
    done = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert (done.rows, done.rejected) == (1, 0)
    assert Store(tmp_path / "c").parts[0].header.rejected == 0


@pytest.mark.parametrize("existing", [False, True])
def test_stores_with_other_settings_are_refused(tmp_path: Path, existing: bool) -> None:
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    write_store(a, [make_batch([0])])
    layers = [*SMALL[:2], Layer(name="fc", shape=(41,))]
    write_store(b, [make_batch([1], layers)], layers, settings={"pool": "max"})
    if existing:
        write_store(out, [make_batch([2])])
    with pytest.raises(StoreMismatchError) as caught:
        merge([b] if existing else [a, b], out)
    assert "settings.pool: got 'max', expected 'none'" in str(caught.value)
    assert out.exists() == existing
    if existing:
        assert len(Store(out)) == 1


def test_wrong_sources_and_outputs_are_refused(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    link = monday.parent / "link"
    link.symlink_to(tuesday)
    for output in (monday, tuesday, link, tuesday / "parts", tuesday / "new"):
        with pytest.raises(InputError, match="one of the stores to merge"):
            merge([monday, tuesday], output)
    with pytest.raises(InputError, match="no store was named"):
        merge([], week)
    with pytest.raises(StoreNotFoundError, match="nowhere"):
        merge([monday, "nowhere"], week)
    week.mkdir()
    (week / "thesis.tex").write_text("")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        merge([monday], week)
    assert [path.name for path in week.iterdir()] == ["thesis.tex"]


def test_the_output_may_be_written_meanwhile(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    with StoreWriter.open(week, layers=SMALL, settings={"pool": "none"}, provenance={}) as writer:
        writer.append(make_batch([3, 20]))
        merge([monday], week)
        writer.commit()
        merge([tuesday], week)
    assert sorted(numbers(week)) == [*range(9), 20]
    assert verify(week).ok


def test_rows_that_another_writer_adds_meanwhile_are_stored_once(
    stores: tuple[Path, Path, Path],
) -> None:
    """Whether they are in the current part of the merge or in a later one."""
    monday, tuesday, week = stores
    write_store(week, [make_batch([20])])

    def meanwhile(done: int, total: int) -> None:
        if not seen:
            seen.append(done)
            write_store(week, [make_batch([8, 1])])

    seen: list[int] = []
    done = merge([monday, tuesday], week, rows_per_part=2, progress=meanwhile)
    assert numbers(week) == [20, 8, 1, 0, 2, 3, 4, 5, 6, 7]
    assert (done.rows, done.duplicates) == (7, 4)
    assert verify(week).ok


def test_the_output_may_be_compacted_meanwhile(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    before: list[int] = []

    def meanwhile(done: int, total: int) -> None:
        if week.joinpath("snapshots", "00000002.json").exists() and not before:
            before.extend(numbers(week))
            assert len(compact(week).groups) == 1

    done = merge([monday, tuesday], week, rows_per_part=2, progress=meanwhile)
    assert before == [0, 1, 2, 3]
    assert numbers(week) == list(range(9))
    assert (done.rows, done.duplicates) == (9, 2)
    assert verify(week).ok


def test_both_versions_of_a_file_are_merged_though_the_output_is_compacted(
    tmp_path: Path,
) -> None:
    """Rows are told apart by their ids, not by their files."""
    folders = [tmp_path / name for name in ("monday", "tuesday")]
    for mtime_ns, folder in enumerate(folders):
        rows = tuple(
            make_row(number, mtime_ns=mtime_ns, sha256=f"{mtime_ns:063x}{number}")
            for number in range(4)
        )
        write_store(folder, [replace(make_batch(range(4)), rows=rows)], rows_per_part=2)
    week, groups = tmp_path / "week", 0

    def meanwhile(done: int, total: int) -> None:
        nonlocal groups
        if week.joinpath("snapshots", "00000002.json").exists() and not groups:
            groups = len(compact(week).groups)

    done = merge(folders, week, rows_per_part=2, progress=meanwhile)
    assert groups == 1
    assert (done.rows, done.duplicates) == (8, 0)
    assert len(Store(week)) == 8
    assert merge(folders, week).rows == 0


def test_copies_of_a_store_that_have_diverged_are_merged(stores: tuple[Path, Path, Path]) -> None:
    """Their parts have the same names, but different excluded rows."""
    monday, _, week = stores
    copy: Path = shutil.copytree(monday, monday.parent / "copy")
    remove(copy, "bytes == 1000")
    remove(monday, "bytes == 1005")
    done = merge([monday, copy], week)
    assert (done.rows, done.duplicates) == (6, 4)
    assert sorted(numbers(week)) == list(range(6))
    merge(monday, copy)
    assert sorted(numbers(copy)) == list(range(6))
    assert verify(copy).ok


@pytest.mark.parametrize("existing", [False, True])
def test_layers_may_be_in_another_order(tmp_path: Path, existing: bool) -> None:
    """The stores have the same layers, named in another order."""
    a, b, out = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    turned = SMALL[::-1]
    write_store(a, [make_batch([0, 1])])
    write_store(b, [make_batch([2, 3], turned)], turned)
    if existing:
        write_store(out, [make_batch([9])])
    merge([b, a], out)
    merged = Store(out)
    assert list(merged.layers) == [layer.name for layer in (SMALL if existing else turned)]
    assert verify(out).findings == ()
    for layer in SMALL:
        expected = make_batch([9] * existing + [2, 3, 0, 1]).layers[layer.name]
        got = merged[layer.name].to_scipy()
        np.testing.assert_array_equal(got.toarray(), expected.to_scipy().toarray())


def test_a_part_whose_rows_were_all_added_meanwhile_is_dropped(
    stores: tuple[Path, Path, Path],
) -> None:
    monday, _, week = stores
    write_store(week, [make_batch([20])])

    def meanwhile(done: int, total: int) -> None:
        if not seen:
            seen.append(done)
            write_store(week, [make_batch(range(4))])

    seen: list[int] = []
    done = merge(monday, week, rows_per_part=2, progress=meanwhile, where="bytes < 1004")
    assert (done.rows, done.duplicates, done.parts, done.bytes_added) == (0, 4, 0, 0)
    assert numbers(week) == [20, 0, 1, 2, 3]
    assert leftovers(week) == []


def test_a_condition_selects_rows(stores: tuple[Path, Path, Path]) -> None:
    monday, tuesday, week = stores
    done = merge([monday, tuesday], week, where="bytes >= 1003 and bytes < 1008")
    assert (done.rows, done.duplicates, done.rejected) == (5, 2, 0)
    assert numbers(week) == [3, 4, 5, 6, 7]
    with pytest.raises(InputError, match="no column"):
        merge(monday, week, where="size > 3")


def test_a_damaged_source_is_an_error(
    stores: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monday, tuesday, week = stores
    part = part_folders(tuesday)[1]
    file = part / "obsm" / "block5_pool" / "data" / "c.0"
    intact = file.read_bytes()
    file.write_bytes(intact[:9] + bytes([intact[9] ^ 1]) + intact[10:])
    with pytest.raises(StoreCorruptError, match=part.name):
        merge([monday, tuesday], week, rows_per_part=4)
    assert verify(week).findings == ()
    assert numbers(week) == list(range(7))
    file.write_bytes(intact)
    merge([monday, tuesday], week, rows_per_part=4)
    assert numbers(week) == list(range(9))


def test_a_write_error_leaves_a_valid_output(stores: tuple[Path, Path, Path]) -> None:
    with (
        no_more_than(resource.RLIMIT_FSIZE, 1000),
        pytest.raises(StoreWriteError, match=r"week can't be written \(File too large"),
    ):
        merge(stores[:2], stores[2])
    assert not stores[2].exists()


def test_a_folder_that_replaces_the_output_gets_no_rows(tmp_path: Path) -> None:
    a, out, away = tmp_path / "a", tmp_path / "out", tmp_path / "away"
    for number in range(3):
        write_store(a, [make_batch([number])])

    def replace(done: int, total: int) -> None:
        if list(out.glob("snapshots/*.json")):
            out.rename(away)
            out.mkdir()

    with pytest.raises(StoreWriteError, match="restore the store's folder"):
        merge([a], out, rows_per_part=1, progress=replace)
    assert numbers(away) == [0]
    assert list(out.iterdir()) == []
    out.rmdir()
    away.rename(out)
    assert merge([a], out, rows_per_part=1).rows == 2
