"""Which images a store holds already, so that an extraction can be resumed."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsefeat.storage import Storage
from sparsefeat.store.format import PartEntry
from sparsefeat.store.part import INDEX, REJECTED, ROWS, Part, full_path, row_id
from sparsefeat.system import overlapped
from sparsefeat.types import Reject, Row

Status: TypeAlias = Literal["stored", "rejected", "elsewhere", "changed", "new"]
Keys: TypeAlias = npt.NDArray[np.int64]

_STATUSES: Final[tuple[Status, ...]] = ("new", "changed", "elsewhere", "rejected", "stored")
_RECENT: Final = 1 << 16
_SIDES: Final = ("left", "right")


class Named(Protocol):
    """What identifies an image: a listed file, a row or a reject."""

    @property
    def root(self) -> str: ...  # noqa: D102  # fields as in `sparsefeat.types.Row`
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def mtime_ns(self) -> int: ...  # noqa: D102


class _KeySet:
    """A set of 64-bit hashes in 8 bytes each; one thread may query it while another adds.

    Among ten million images, the chance that any is taken for another is 1 in 300,000.

    Parameters
    ----------
    read
        Gives the keys of a part; those of parts given to `read_later` are read at the first query.
    """

    def __init__(self, read: Callable[[Part], Keys] | None = None) -> None:
        self._read = read
        self._unread: list[tuple[Storage, PartEntry]] = []
        self._waiting: list[Keys] = []
        self._sorted: Keys = np.empty(0, np.int64)
        self._recent: set[int] = set()
        self._lock = threading.Lock()

    def read_later(self, part: Part) -> None:
        with self._lock:
            self._unread.append((part.storage, part.entry))

    def update(self, keys: Keys) -> None:
        with self._lock:
            self._waiting.append(keys)

    def add(self, keys: Keys) -> None:
        """Add a few keys, without sorting all of them again."""
        with self._lock:
            self._recent.update(keys.tolist())
            if len(self._recent) >= _RECENT + len(self._sorted) // 8:  # so that it stays linear
                self._waiting.append(np.fromiter(self._recent, np.int64, len(self._recent)))
                self._recent.clear()

    def contains(self, keys: Keys) -> npt.NDArray[np.bool_]:
        with self._lock:
            if self._unread:
                self._waiting += overlapped(
                    self._keys, self._unread, self._unread[0][0].reads_at_once
                )
                self._unread.clear()
            if self._waiting:  # sorted once, at the first query
                self._sorted = np.concatenate([self._sorted, *self._waiting])
                self._waiting.clear()
                self._sorted.sort()
            found = np.zeros(len(keys), np.bool_)
            if len(self._sorted):
                # Ascending keys are found two to three times as fast among millions: each search
                # reads memory that the one before has read.
                order = np.argsort(keys)
                wanted = keys[order]
                places = self._sorted.searchsorted(wanted)
                found[order] = self._sorted.take(places, mode="clip") == wanted
            if self._recent:
                found |= np.array([key in self._recent for key in keys.tolist()], np.bool_)
            return found

    def _keys(self, unread: tuple[Storage, PartEntry]) -> Keys:
        assert self._read is not None
        return self._read(Part(*unread))


class _Outcome:
    """The images of one table, by every key that they may be looked up by."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.files, self.names = _KeySet(), _KeySet()
        self.digests = _KeySet(lambda part: _digests(*_columns(part, table, "path", "sha256")))


class Index:
    """The images that gave a row or a reject, looked up by identity.

    One thread may query it while another adds. Keys are made of Python's hashes, which are valid in
    this process only.

    Parameters
    ----------
    locate
        Whether `find` will be called.
    """

    def __init__(self, *, locate: bool = False) -> None:
        self._rows, self._rejects, self._files = _Outcome(ROWS), _Outcome(REJECTED), _KeySet()
        self._ids = _KeySet(lambda part: _hashes(*_columns(part, ROWS, INDEX)))
        self._locations = _Locations() if locate else None

    def status(self, *, root: str, path: str, sha256: str) -> Status:
        """Tell what the store knows of an image's bytes.

        An image is the same one if path and digest agree, whatever its time and its root. So it is
        "stored", "rejected" or "new", or "changed" if there is a row for this path under this root.
        """
        digest = _digests([path], [sha256])
        if self._rows.digests.contains(digest)[0]:
            return "stored"
        if self._rejects.digests.contains(digest)[0]:
            return "rejected"
        return "changed" if self._files.contains(_hashes([full_path(root, path)]))[0] else "new"

    def statuses(self, images: Sequence[Named]) -> list[Status]:
        """Tell what the store knows of images, by path, root, size and time.

        Returns
        -------
        For each image "stored", "rejected" or "new"; "elsewhere": the store has one of this path,
        size and time, but under another root (a digest would tell whether the folder was moved);
        "changed": there is a row for this path under this root, of another size or time.
        """
        roots, paths, sizes, times = _records(images)
        here = _hashes(_full_paths(roots, paths))
        files = _mixed(here, sizes, times)
        known = np.where(self._rows.files.contains(files), 4, 0)
        if not known.all():
            others = np.flatnonzero(known == 0)
            names = _mixed(_hashes(paths), sizes, times)[others]
            at, here = files[others], here[others]
            known[others] = np.select(
                [
                    self._rejects.files.contains(at),
                    self._rows.names.contains(names) | self._rejects.names.contains(names),
                    self._files.contains(here),
                ],
                [3, 2, 1],
            )
        return [_STATUSES[number] for number in known.tolist()]

    def holds(self, row: Row) -> bool:
        """Tell whether there is a row of the same path, size, time and digest."""
        _, paths, *numbers = _records([row])
        if not self._rows.names.contains(_mixed(_hashes(paths), *numbers))[0]:
            return False
        return bool(self._ids.contains(_hashes([row_id(row)]))[0])

    def held(self, part: Part) -> list[int]:
        """Give the numbers of a part's rows for which `holds` is true."""
        paths, *numbers = _columns(part, ROWS, "path", "bytes", "mtime_ns")
        likely = np.flatnonzero(self._rows.names.contains(_mixed(_hashes(paths), *numbers)))
        if not len(likely):  # otherwise ids of the whole store are read
            return []
        ids = part.column(ROWS, INDEX)[likely].tolist()
        return [int(number) for number in likely[self._ids.contains(_hashes(ids))]]

    def find(self, path: str) -> list[tuple[str, int]]:
        """Give part and number of each loaded row of the file at a full path."""
        assert self._locations is not None
        return self._locations.find(path)

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Note images that gave a row."""
        _add(self._rows, rows)
        self._files.add(_hashes(full_path(row.root, row.path) for row in rows))
        self._ids.add(_hashes(map(row_id, rows)))

    def add_rejects(self, rejects: Sequence[Reject]) -> None:
        """Note images that could not be read."""
        _add(self._rejects, rejects)

    def load(self, part: Part) -> None:
        """Add the images that a part holds; several may be loaded at once, in threads."""
        here = _load(self._rows, part)
        self._files.update(here)
        self._ids.read_later(part)
        if self._locations is not None:
            self._locations.add(part, here)
        if part.header.rejected:
            _load(self._rejects, part)


def _columns(part: Part, table: str, *names: str) -> list[list[Any]]:
    """Read columns; of the table of rows, without excluded rows."""
    kept = part.kept if table == ROWS else None
    read = (part.column(table, name) for name in names)
    return [(column if kept is None else column[kept]).tolist() for column in read]


def _load(outcome: _Outcome, part: Part) -> Keys:
    """Add the images of a part's table, and give the hashes of their full paths."""
    table = outcome.table
    roots, paths, *numbers = _columns(part, table, "root", "path", "bytes", "mtime_ns")
    here = _hashes(_full_paths(roots, paths))
    outcome.files.update(_mixed(here, *numbers))
    outcome.names.update(_mixed(_hashes(paths), *numbers))
    outcome.digests.read_later(part)
    return here


def _add(outcome: _Outcome, images: Sequence[Row] | Sequence[Reject]) -> None:
    roots, paths, *numbers = _records(images)
    outcome.files.add(_mixed(_hashes(_full_paths(roots, paths)), *numbers))
    outcome.names.add(_mixed(_hashes(paths), *numbers))
    outcome.digests.add(_digests(paths, [image.sha256 for image in images]))


def _records(images: Sequence[Named]) -> tuple[list[str], list[str], list[int], list[int]]:
    return (
        [image.root for image in images],
        [image.path for image in images],
        [image.bytes for image in images],
        [image.mtime_ns for image in images],
    )


def _full_paths(roots: Sequence[str], paths: Sequence[str]) -> list[str]:
    before = {root: full_path(root, "") for root in set(roots)}
    return [before[root] + path for root, path in zip(roots, paths, strict=True)]


def _hashes(texts: Iterable[str]) -> Keys:
    return np.fromiter(map(hash, texts), np.int64)


def _digests(paths: Sequence[str], digests: Sequence[str]) -> Keys:
    return np.fromiter(map(hash, zip(paths, digests, strict=True)), np.int64)


def _mixed(hashes: Keys, *numbers: Sequence[int]) -> Keys:
    """Hash numbers into hashes, bit for bit as splitmix64 does."""
    mixed = hashes.view(np.uint64)
    for each in numbers:
        mixed = mixed + np.array(each, np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return mixed.view(np.int64)


def row_ids(part: Part) -> Iterator[tuple[int, str]]:
    """Give the number in the part, and the id, of each row that is not excluded."""
    ids = part.column(ROWS, INDEX).tolist()
    numbers = range(len(ids)) if part.kept is None else part.kept.tolist()
    return ((number, ids[number]) for number in numbers)


def row_files(part: Part) -> Iterator[str]:
    """Give the full path of each row that is not excluded and whose image was a file."""
    roots, paths = _columns(part, ROWS, "root", "path")
    rows = zip(roots, paths, strict=True)
    return (full_path(root, path) for root, path in rows if root)


class _Locations:
    """Rows of images, looked up by their files' full paths, in 24 bytes a row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._waiting: list[tuple[Keys, npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        self._hashes: Keys = np.empty(0, np.int64)
        self._parts: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, part: Part, here: Keys) -> None:
        """Add the rows of a part, given the hashes of their full paths."""
        rows = np.arange(part.header.rows) if part.kept is None else part.kept
        with self._lock:
            self._waiting.append((here, np.full(len(rows), len(self._names)), rows))
            self._names.append(part.entry.name)

    def find(self, path: str) -> list[tuple[str, int]]:
        """Give the part's name and the row's number in it, for each row of a full path."""
        if self._waiting:
            columns = zip((self._hashes, self._parts, self._rows), *self._waiting, strict=True)
            hashes, parts, rows = (np.concatenate(each) for each in columns)
            order = np.argsort(hashes, kind="stable")
            self._hashes, self._parts, self._rows = hashes[order], parts[order], rows[order]
            self._waiting.clear()
        first, last = (int(np.searchsorted(self._hashes, hash(path), side)) for side in _SIDES)
        found = zip(self._parts[first:last].tolist(), self._rows[first:last], strict=True)
        return [(self._names[part], int(row)) for part, row in found]
