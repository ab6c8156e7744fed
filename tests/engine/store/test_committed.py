"""Which parts count, whatever happens to the folder meanwhile."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sparsefeat.store.committed import survey
from sparsefeat.store.layout import list_parts, next_number, part_name
from sparsefeat.store.ranges import Ranges

from sparsefeat.errors import StoreCorruptError, StoreError
from sparsefeat.store import Store, committed, verify

from .attacks import edit_header
from .data import make_batch, write_store


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, [make_batch([0])])
    return folder / part_name(0)


@pytest.fixture
def put(part: Path, tmp_path: Path) -> Callable[..., Path]:
    """Put a part into the test's folder: its number, and the numbers that it replaces."""

    def copy(number: int, *replaces: list[int]) -> Path:
        path: Path = shutil.copytree(part, tmp_path / part_name(number))
        edit_header(path, lambda header: header.update(format=2, replaces=list(replaces)))
        return path

    return copy


def names(folder: Path) -> list[int]:
    return [int(path.name[5:10]) for path in survey(folder).paths]


def test_a_part_comes_where_the_first_one_that_it_replaces_was(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(5):
        put(number)
    assert names(tmp_path) == [0, 1, 2, 3, 4]
    put(5, [1, 2])
    found = survey(tmp_path)
    assert names(tmp_path) == [0, 5, 3, 4]
    assert [path.name for path in found.replaced] == [part_name(1), part_name(2)]
    assert found.missing == Ranges()
    shutil.rmtree(tmp_path / part_name(1))
    put(6)
    put(7, [0, 3], [5, 5])
    assert names(tmp_path) == [7, 4, 6]
    for number in (0, 2, 3, 5):
        shutil.rmtree(tmp_path / part_name(number))
    found = survey(tmp_path)
    assert names(tmp_path) == [7, 4, 6]
    assert (found.replaced, found.missing) == ((), Ranges())
    assert next_number(tmp_path) == 8


def test_what_nobody_replaced_is_missing(put: Callable[..., Path], tmp_path: Path) -> None:
    put(3)
    put(7, [4, 4])
    put(12)
    assert survey(tmp_path).missing.pairs == ((0, 2), (5, 6), (8, 11))
    found = [str(finding) for finding in verify(tmp_path).findings if not finding.harmless]
    assert f"{part_name(0)} to {part_name(2)} are missing" in found
    assert f"{part_name(5)} to {part_name(6)} are missing" in found


def test_headers_of_replaced_parts_are_not_read(put: Callable[..., Path], tmp_path: Path) -> None:
    (put(0) / "zarr.json").unlink()
    put(1, [0, 0])
    assert len(Store(tmp_path)) == 1


@pytest.mark.parametrize("replaces", [[[0, 3]], [[0, 0], [2, 2]]])
def test_parts_that_claim_what_they_cannot(
    put: Callable[..., Path], tmp_path: Path, replaces: list[list[int]]
) -> None:
    put(1)
    put(2, *replaces)
    with pytest.raises(StoreCorruptError, match=r"replaces part-0000[23]\.zarr"):
        Store(tmp_path)
    assert any("says that it replaces" in str(found) for found in verify(tmp_path).findings)


def test_a_flipped_bit_hides_no_part(put: Callable[..., Path], tmp_path: Path) -> None:
    for number in range(4):
        put(number)
    root = put(4, [0, 1]) / "zarr.json"
    assert names(tmp_path) == [4, 2, 3]
    root.write_bytes(root.read_bytes().replace(b"[0,1]", b"[0,3]").replace(b"[0, 1]", b"[0, 3]"))
    with pytest.raises(StoreCorruptError, match=r"part-00004.zarr/uns/.* is not the header"):
        Store(tmp_path)
    assert "header" in str(verify(tmp_path).findings)


def test_older_readers_would_show_rows_twice(put: Callable[..., Path], tmp_path: Path) -> None:
    put(0)
    edit_header(put(1, [0, 0]), lambda header: header.update(format=1))
    with pytest.raises(StoreCorruptError, match="format 1 with what needs format 2"):
        Store(tmp_path)


def test_a_link_that_leads_nowhere_is_damage(put: Callable[..., Path], tmp_path: Path) -> None:
    put(0)
    (tmp_path / part_name(1)).symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreCorruptError, match=r"part-00001\.zarr/zarr\.json is damaged"):
        Store(tmp_path)
    assert not verify(tmp_path).ok


def test_a_part_that_two_others_replace(put: Callable[..., Path], tmp_path: Path) -> None:
    put(3, [0, 1])
    put(4, [1, 2])
    with pytest.raises(StoreCorruptError, match=r"replaces part-00001\.zarr, expected no part"):
        Store(tmp_path)
    assert not verify(tmp_path).ok


def test_a_part_that_goes_while_headers_are_read(
    put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction commits its part and removes others after the folder was listed."""
    for number in range(3):
        put(number)
    listings = 0

    def list_then_compact(folder: Path) -> list[Path]:
        nonlocal listings
        listings += 1
        found = list_parts(folder)
        if listings == 1:
            put(3, [0, 1])
            shutil.rmtree(tmp_path / part_name(0))
            shutil.rmtree(tmp_path / part_name(1))
        return found

    monkeypatch.setattr(committed, "list_parts", list_then_compact)
    assert names(tmp_path) == [3, 2]


def test_a_listing_that_missed_both_old_and_new(
    put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder isn't listed in one step: a part may go before, and another come behind."""
    for number in range(2):
        put(number)
    put(2, [0, 0])
    listings = [[tmp_path / part_name(1)]]

    def torn(folder: Path) -> list[Path]:
        return listings.pop() if listings else list_parts(folder)

    monkeypatch.setattr(committed, "list_parts", torn)
    assert names(tmp_path) == [2, 1]


def test_a_folder_that_never_rests(
    put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(0)
    put(1)
    turn = 0

    def restless(folder: Path) -> list[Path]:
        nonlocal turn
        turn += 1
        return list_parts(folder)[: 1 + turn % 2]

    monkeypatch.setattr(committed, "list_parts", restless)
    with pytest.raises(StoreError, match="changed whenever it was read"):
        survey(tmp_path)
