"""The log of snapshots: whatever is committed, each snapshot gives the whole list of parts."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from sparsefeat.errors import InputError, StoreCorruptError, StoreError, StoreWriteError
from sparsefeat.storage import LocalStorage
from sparsefeat.store import JSON, Store, verify
from sparsefeat.store.dataset.log import Log
from sparsefeat.store.dataset.snapshot import Change, Snapshot, excluding
from sparsefeat.store.format.documents import PartEntry, PartLayer, part_key, snapshot_key
from sparsefeat.types import Layer

from ..data import edit_snapshot, make_batch, write_store

LAYERS = (Layer(name="block5_pool", shape=(7, 7, 512)), Layer(name="fc2", shape=(4096,)))
SETTINGS: dict[str, JSON] = {"pool": "none"}
ROWS = 50


def entry(number: int) -> PartEntry:
    layers = tuple(PartLayer("csr", 1000 + number, 5000 + number) for _ in LAYERS)
    return PartEntry(f"{number:016x}", ROWS, 0, 10_000 + number, f"{number:08x}", layers)


class Journal:
    """A log, together with the parts that its newest snapshot must list."""

    def __init__(self, folder: Path) -> None:
        self.storage = LocalStorage(folder)
        self.log = Log(self.storage)
        self.parts: tuple[PartEntry, ...] = ()
        self.latest: Snapshot | None = None
        self.made = 0

    def new(self) -> PartEntry:
        """Make a part; of its content only the size is read."""
        made = entry(self.made)
        self.made += 1
        self.storage.claim(part_key(made.name))
        self.storage.claim("snapshots")
        with (self.storage.root / part_key(made.name) / "zarr.json").open("wb") as file:
            file.truncate(made.n_bytes)
        return made

    def commit(self, parts: Sequence[PartEntry]) -> None:
        self.parts = tuple(parts)
        change = Change(operation="test", parts=parts)
        if self.latest is None:
            self.latest = self.log.create(SETTINGS, LAYERS, "float32", change)
        else:
            self.latest = self.log.commit(self.latest, lambda latest: change)

    def check(self) -> None:
        """Read the newest snapshot with a new log."""
        assert self.latest is not None
        read = Log(LocalStorage(self.storage.root)).require()
        assert read == self.latest
        assert read.parts == self.parts
        assert (read.layers, read.settings, read.values) == (LAYERS, SETTINGS, "float32")
        assert read.n_rows == sum(part.n_rows for part in self.parts)
        assert len(read.chain) <= 3


@pytest.fixture
def journal(tmp_path: Path, without_fsync: None) -> Journal:
    return Journal(tmp_path)


OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 40)),
    st.tuples(st.just("exclude"), st.integers(0, 1000), st.integers(0, ROWS - 1)),
    st.tuples(st.just("replace"), st.integers(0, 1000), st.integers(1, 9)),
    st.tuples(st.just("drop"), st.integers(0, 1000)),
    st.tuples(st.just("reverse")),
)


def apply(journal: Journal, operation: tuple[object, ...]) -> None:
    parts = [*journal.parts]
    match operation:
        case ("append", int(count)):
            for _ in range(count):
                parts.append(journal.new())
                journal.commit(parts)
            return
        case ("exclude", int(index), int(row)) if parts:
            index %= len(parts)
            parts[index] = excluding(parts[index], [row])
        case ("replace", int(index), int(count)) if parts:
            index %= len(parts)
            parts[index : index + count] = [journal.new()]
        case ("drop", int(index)) if parts:
            del parts[index % len(parts)]
        case ("reverse",):
            parts.reverse()
    if journal.latest is not None:
        journal.commit(parts)


@settings(max_examples=60, deadline=None)
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=25))
def test_every_snapshot_gives_the_whole_list(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[object, ...]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        journal, lists = Journal(tmp_path_factory.mktemp("log")), []
        for operation in operations:
            apply(journal, operation)
            if journal.latest is not None:
                journal.check()
                lists.append((journal.latest.number, journal.parts))
        # Earlier snapshots have not changed.
        for number, parts in lists:
            assert Log(journal.storage).require(number).parts == parts


def test_snapshots_grow_less_than_quadratically(journal: Journal) -> None:
    """Each commit writes some N**(1/3) parts instead of all N."""
    count, each = 1000, 100  # bytes of an entry, approximately
    parts: list[PartEntry] = []
    for _ in range(count):
        parts.append(journal.new())
        journal.commit(parts)
    journal.check()
    sizes = [file.stat().st_size for file in (journal.storage.root / "snapshots").iterdir()]
    assert len(sizes) == count
    assert max(sizes) < 1.2 * count * each
    assert sum(sizes) < 24 * count * each  # measured: 15


def test_a_snapshot_is_read_by_its_number(journal: Journal) -> None:
    for _ in range(3):
        journal.commit([*journal.parts, journal.new()])
    assert [len(journal.log.require(number).parts) for number in (1, 2, 3)] == [1, 2, 3]
    for number in (0, 4, True, "1"):
        with pytest.raises(InputError, match="expected one of 1 to 3"):
            journal.log.require(number)  # type: ignore[arg-type]


def test_files_with_other_names_are_not_snapshots(journal: Journal) -> None:
    journal.commit([journal.new()])
    too_large = f"{2**63}.json"
    for name in ("9.json", "000000009.json", "00000009.json.tmp", ".00000009.json", too_large):
        (journal.storage.root / "snapshots" / name).touch()
    assert journal.log.numbers() == [1]
    journal.check()


def test_the_largest_number_ends_the_log(tmp_path: Path) -> None:
    """The snapshot is made by hand, since nobody commits so often."""
    write_store(tmp_path, [make_batch([0])])
    last = tmp_path / "snapshots" / f"{2**63 - 1}.json"
    edit_snapshot(tmp_path, lambda parts: None, number=2**63 - 1)
    (tmp_path / "snapshots" / "00000001.json").rename(last)
    assert len(Store(tmp_path)) == 1
    with pytest.raises(StoreError, match=rf"{last.name} has the largest number .*: move it out of"):
        write_store(tmp_path, [make_batch([1])])
    assert [path.name for path in last.parent.iterdir()] == [last.name]
    assert verify(tmp_path).ok


class _Racing(LocalStorage):
    """Storage that calls a function once, after the snapshots were listed."""

    def __init__(self, root: Path, meanwhile: object) -> None:
        super().__init__(root)
        self.meanwhile = meanwhile

    def names(self, prefix: str) -> list[str]:
        found = super().names(prefix)
        if callable(self.meanwhile):
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return found


def test_a_newest_snapshot_that_was_deleted_meanwhile_is_replaced_by_a_newer_one(
    journal: Journal,
) -> None:
    """Others have committed and vacuumed, so their snapshot is read."""
    journal.commit([journal.new()])

    def meanwhile() -> None:
        journal.commit([journal.new()])
        journal.storage.delete(snapshot_key(1))

    assert Log(_Racing(journal.storage.root, meanwhile)).require().parts == journal.parts
    assert journal.parts[0].name == entry(1).name


def test_a_missing_newest_snapshot_is_damage(journal: Journal) -> None:
    journal.commit([journal.new()])
    racing = _Racing(journal.storage.root, lambda: journal.storage.delete(snapshot_key(1)))
    with pytest.raises(StoreCorruptError, match=r"is damaged .*No such file"):
        Log(racing).require()


def test_a_losing_commit_is_applied_to_the_winner_s_snapshot(journal: Journal) -> None:
    """Whether the winner committed before the snapshots were listed, or after."""
    journal.commit([journal.new()])
    before, late = journal.latest, journal.new()
    assert before is not None
    racing = _Racing(journal.storage.root, lambda: journal.commit([*journal.parts, journal.new()]))
    made = Log(racing).commit(
        before, lambda latest: Change(operation="late", parts=[*latest.parts, late])
    )
    assert (made.number, made.parts) == (3, (*journal.parts, late))
    last = Log(journal.storage).commit(
        before, lambda latest: Change(operation="later", parts=latest.parts[::-1])
    )
    assert (last.number, last.parts) == (4, made.parts[::-1])


def test_an_outdated_listing_is_corrected(journal: Journal) -> None:
    """Network file systems may not list a taken number yet."""

    class Stale(LocalStorage):
        def names(self, prefix: str) -> list[str]:
            return [name for name in super().names(prefix) if name != "00000002.json"]

    journal.commit([journal.new()])
    before, late = journal.latest, journal.new()
    assert before is not None
    journal.commit([*journal.parts, journal.new()])
    made = Log(Stale(journal.storage.root)).commit(
        before, lambda latest: Change(operation="late", parts=[*latest.parts, late])
    )
    assert (made.number, made.parts) == (3, (*journal.parts, late))


def test_no_change_makes_no_commit(journal: Journal) -> None:
    journal.commit([journal.new()])
    assert journal.latest is not None
    assert journal.log.commit(journal.latest, lambda latest: None) is journal.latest
    assert journal.log.numbers() == [1]


@pytest.mark.parametrize("left", [(), (1,)])
def test_a_deleted_store_is_an_error(journal: Journal, left: tuple[int, ...]) -> None:
    for _ in range(3):
        journal.commit([*journal.parts, journal.new()])
    for number in {1, 2, 3} - {*left}:
        journal.storage.delete(snapshot_key(number))
    with pytest.raises(StoreWriteError, match="is missing: the store was deleted or replaced"):
        journal.commit([*journal.parts, journal.new()])
    assert journal.log.numbers() == [*left]


def test_a_list_that_is_too_long_is_refused(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.commit([journal.new()])
    monkeypatch.setattr("sparsefeat.store.dataset.log.SNAPSHOT_BYTES", 500)
    before = journal.parts
    with pytest.raises(StoreWriteError, match=r"has 4 parts, too many .*: see sparsefeat compact"):
        journal.commit([*(journal.new() for _ in range(3)), *before])
    assert journal.log.require().parts == before


def test_excluding_rows_twice_counts_once() -> None:
    once = excluding(entry(0), [1, 2, 7])
    assert once.excluded == ((1, 3), (7, 8))
    assert excluding(once, [2, 7]) == once
    assert excluding(once, [3, 0]).excluded == ((0, 4), (7, 8))
    assert (once.n_rows, once.n_excluded) == (ROWS - 3, 3)
    assert excluding(once, range(ROWS)).n_rows == 0
    with pytest.raises(ValueError, match="excluded rows"):
        structs.replace(once, excluded=((0, ROWS + 1),))
