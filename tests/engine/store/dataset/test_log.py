"""The log of snapshots: whatever was committed, each file says the whole list."""

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


class Book:
    """A log, and beside it the parts that its newest snapshot must list."""

    def __init__(self, folder: Path) -> None:
        self.storage = LocalStorage(folder)
        self.log = Log(self.storage)
        self.parts: tuple[PartEntry, ...] = ()
        self.latest: Snapshot | None = None
        self.made = 0

    def new(self) -> PartEntry:
        """A part that is there: of it nothing is read but how large it is."""
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
        """Read the newest snapshot as somebody does who knows nothing."""
        assert self.latest is not None
        read = Log(LocalStorage(self.storage.root)).require()
        assert read == self.latest
        assert read.parts == self.parts
        assert (read.layers, read.settings, read.values) == (LAYERS, SETTINGS, "float32")
        assert read.n_rows == sum(part.n_rows for part in self.parts)
        assert len(read.chain) <= 3


@pytest.fixture
def book(tmp_path: Path, without_fsync: None) -> Book:
    return Book(tmp_path)


OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 40)),
    st.tuples(st.just("exclude"), st.integers(0, 1000), st.integers(0, ROWS - 1)),
    st.tuples(st.just("replace"), st.integers(0, 1000), st.integers(1, 9)),
    st.tuples(st.just("drop"), st.integers(0, 1000)),
    st.tuples(st.just("reverse")),
)


def apply(book: Book, operation: tuple[object, ...]) -> None:
    parts = [*book.parts]
    match operation:
        case ("append", int(count)):
            for _ in range(count):
                parts.append(book.new())
                book.commit(parts)
            return
        case ("exclude", int(place), int(row)) if parts:
            place %= len(parts)
            parts[place] = excluding(parts[place], [row])
        case ("replace", int(place), int(count)) if parts:
            place %= len(parts)
            parts[place : place + count] = [book.new()]
        case ("drop", int(place)) if parts:
            del parts[place % len(parts)]
        case ("reverse",):
            parts.reverse()
    if book.latest is not None:
        book.commit(parts)


@settings(max_examples=60, deadline=None)
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=25))
def test_every_snapshot_is_the_whole_list(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[object, ...]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        book, lists = Book(tmp_path_factory.mktemp("log")), []
        for operation in operations:
            apply(book, operation)
            if book.latest is not None:
                book.check()
                lists.append((book.latest.number, book.parts))
        # Those before are what they were.
        for number, parts in lists:
            assert Log(book.storage).require(number).parts == parts


def test_the_bytes_of_all_snapshots_are_bounded(book: Book) -> None:
    """Some N**(1/3) parts a commit: a list of all parts in each would be N."""
    count, each = 1000, 100  # bytes of a part in a list, about
    parts: list[PartEntry] = []
    for _ in range(count):
        parts.append(book.new())
        book.commit(parts)
    book.check()
    sizes = [file.stat().st_size for file in (book.storage.root / "snapshots").iterdir()]
    assert len(sizes) == count
    assert max(sizes) < 1.2 * count * each
    assert sum(sizes) < 24 * count * each  # measured: 15


def test_a_snapshot_is_read_by_its_number(book: Book) -> None:
    for _ in range(3):
        book.commit([*book.parts, book.new()])
    assert [len(book.log.require(number).parts) for number in (1, 2, 3)] == [1, 2, 3]
    for number in (0, 4, True, "1"):
        with pytest.raises(InputError, match="expected one of 1 to 3"):
            book.log.require(number)  # type: ignore[arg-type]


def test_other_names_are_no_snapshots(book: Book) -> None:
    book.commit([book.new()])
    too_large = f"{2**63}.json"
    for name in ("9.json", "000000009.json", "00000009.json.tmp", ".00000009.json", too_large):
        (book.storage.root / "snapshots" / name).touch()
    assert book.log.numbers() == [1]
    book.check()


def test_the_largest_number_is_the_last_one(tmp_path: Path) -> None:
    """Made by hand, since nobody commits so often."""
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
    """Lets something happen after the snapshots were listed, once."""

    def __init__(self, root: Path, meanwhile: object) -> None:
        super().__init__(root)
        self.meanwhile = meanwhile

    def names(self, prefix: str) -> list[str]:
        found = super().names(prefix)
        if callable(self.meanwhile):
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return found


def test_the_newest_snapshot_is_deleted_between_listing_and_reading(book: Book) -> None:
    """Others have committed and vacuumed: theirs is read instead."""
    book.commit([book.new()])

    def meanwhile() -> None:
        book.commit([book.new()])
        book.storage.delete(snapshot_key(1))

    assert Log(_Racing(book.storage.root, meanwhile)).require().parts == book.parts
    assert book.parts[0].name == entry(1).name


def test_a_snapshot_that_nobody_replaced_is_missed(book: Book) -> None:
    book.commit([book.new()])
    racing = _Racing(book.storage.root, lambda: book.storage.delete(snapshot_key(1)))
    with pytest.raises(StoreCorruptError, match=r"is damaged .*No such file"):
        Log(racing).require()


def test_a_commit_that_loses_is_made_to_the_winner(book: Book) -> None:
    """Whether the winner committed before the snapshots were listed, or after."""
    book.commit([book.new()])
    before, late = book.latest, book.new()
    assert before is not None
    racing = _Racing(book.storage.root, lambda: book.commit([*book.parts, book.new()]))
    made = Log(racing).commit(
        before, lambda latest: Change(operation="late", parts=[*latest.parts, late])
    )
    assert (made.number, made.parts) == (3, (*book.parts, late))
    last = Log(book.storage).commit(
        before, lambda latest: Change(operation="later", parts=latest.parts[::-1])
    )
    assert (last.number, last.parts) == (4, made.parts[::-1])


def test_a_listing_that_is_some_seconds_old(book: Book) -> None:
    """As network file systems may give: the number is taken, and not listed yet."""

    class Stale(LocalStorage):
        def names(self, prefix: str) -> list[str]:
            return [name for name in super().names(prefix) if name != "00000002.json"]

    book.commit([book.new()])
    before, late = book.latest, book.new()
    assert before is not None
    book.commit([*book.parts, book.new()])
    made = Log(Stale(book.storage.root)).commit(
        before, lambda latest: Change(operation="late", parts=[*latest.parts, late])
    )
    assert (made.number, made.parts) == (3, (*book.parts, late))


def test_a_change_of_nothing_is_no_commit(book: Book) -> None:
    book.commit([book.new()])
    assert book.latest is not None
    assert book.log.commit(book.latest, lambda latest: None) is book.latest
    assert book.log.numbers() == [1]


@pytest.mark.parametrize("left", [(), (1,)])
def test_a_store_that_is_not_there_any_more(book: Book, left: tuple[int, ...]) -> None:
    for _ in range(3):
        book.commit([*book.parts, book.new()])
    for number in {1, 2, 3} - {*left}:
        book.storage.delete(snapshot_key(number))
    with pytest.raises(StoreWriteError, match="is missing: the store was deleted or replaced"):
        book.commit([*book.parts, book.new()])
    assert book.log.numbers() == [*left]


def test_a_list_that_would_be_too_long_to_be_read(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.commit([book.new()])
    monkeypatch.setattr("sparsefeat.store.dataset.log.SNAPSHOT_BYTES", 500)
    before = book.parts
    with pytest.raises(StoreWriteError, match=r"has 4 parts, too many .*: see sparsefeat compact"):
        book.commit([*(book.new() for _ in range(3)), *before])
    assert book.log.require().parts == before


def test_excluding_rows_twice_excludes_them_once() -> None:
    once = excluding(entry(0), [1, 2, 7])
    assert once.excluded == ((1, 3), (7, 8))
    assert excluding(once, [2, 7]) == once
    assert excluding(once, [3, 0]).excluded == ((0, 4), (7, 8))
    assert (once.n_rows, once.n_excluded) == (ROWS - 3, 3)
    assert excluding(once, range(ROWS)).n_rows == 0
    with pytest.raises(ValueError, match="excluded rows"):
        structs.replace(once, excluded=((0, ROWS + 1),))
