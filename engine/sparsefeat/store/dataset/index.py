"""Which images a store holds already: what resuming asks."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsefeat.store.part import REJECTED, ROWS, Part, full_path
from sparsefeat.types import Reject, Row

Status: TypeAlias = Literal["stored", "rejected", "elsewhere", "changed", "new"]
Keys: TypeAlias = npt.NDArray[np.int64]

_RECENT: Final = 1 << 16
_SIDES: Final = ("left", "right")


class _Stored(NamedTuple):
    root: str
    path: str
    bytes: int
    mtime_ns: int
    sha256: str


Image: TypeAlias = Row | Reject | _Stored


class _KeySet:
    """A set of 64-bit hashes in 8 bytes each; safe to ask in one thread while another adds.

    Among ten million images, the chance that any is taken for another is 1 in 300,000.
    """

    def __init__(self) -> None:
        self._waiting: list[Keys] = []
        self._sorted: Keys = np.empty(0, np.int64)
        self._recent: set[int] = set()
        self._lock = threading.Lock()

    def update(self, keys: Keys) -> None:
        with self._lock:
            self._waiting.append(keys)

    def add(self, key: int) -> None:
        with self._lock:
            self._recent.add(key)
            if len(self._recent) >= _RECENT + len(self._sorted) // 8:  # so that it stays linear
                self._waiting.append(np.fromiter(self._recent, np.int64, len(self._recent)))
                self._recent.clear()

    def __contains__(self, key: int) -> bool:
        with self._lock:
            if self._waiting:  # sorted once, when first asked
                self._sorted = np.sort(np.concatenate([self._sorted, *self._waiting]))
                self._waiting.clear()
            if key in self._recent:
                return True
            found = int(self._sorted.searchsorted(key))
            return found < len(self._sorted) and int(self._sorted[found]) == key


class _Identities:
    """One kind of outcome's images, by everything they may be looked up by."""

    def __init__(self) -> None:
        self.files, self.names, self.digests, self.exact = (_KeySet() for _ in range(4))


class Index:
    """The images that gave a row or a reject, looked up by identity.

    Safe to ask in one thread while another adds. Keys are Python's hashes, which mean nothing in
    another process.
    """

    def __init__(self) -> None:
        self._rows, self._rejects, self._places = _Identities(), _Identities(), _KeySet()

    def status(
        self, *, root: str, path: str, bytes: int, mtime_ns: int, sha256: str | None = None
    ) -> Status:
        """Tell what the store knows of an image.

        Parameters
        ----------
        root, path, bytes, mtime_ns
            As in `sparsefeat.types.Row`.
        sha256
            If given, an image is the same one if path and digest agree, whatever its time
            and its root.

        Returns
        -------
        Status
            "stored", "rejected" or "new"; "elsewhere": there is one of this path, size and time,
            but it lay under another root (a digest would tell whether the folder was moved);
            "changed": there is a row for this path under this root, of another size or time,
            or digest.
        """
        here = full_path(root, path)
        if sha256 is not None:
            digest = hash((path, sha256))
            if digest in self._rows.digests:
                return "stored"
            if digest in self._rejects.digests:
                return "rejected"
        else:
            file = hash((here, bytes, mtime_ns))
            if file in self._rows.files:
                return "stored"
            if file in self._rejects.files:
                return "rejected"
            name = hash((path, bytes, mtime_ns))
            if name in self._rows.names or name in self._rejects.names:
                return "elsewhere"
        return "changed" if hash(here) in self._places else "new"

    def holds(self, image: Image) -> bool:
        """Tell whether there is a row of the same path, size, time and digest."""
        return hash((image.path, image.bytes, image.mtime_ns, image.sha256)) in self._rows.exact

    def add_row(self, image: Image) -> None:
        """Note an image that gave a row."""
        _add(self._rows, image)
        self._places.add(hash(full_path(image.root, image.path)))

    def add_reject(self, image: Image) -> None:
        """Note an image that could not be read."""
        _add(self._rejects, image)

    def load(self, parts: Iterable[Part]) -> None:
        """Add the images that the parts hold."""
        for part in parts:
            columns = _columns(part, ROWS, part.kept)
            _load(self._rows, columns)
            self._places.update(_hashes(columns[0]))
            _load(self._rejects, _columns(part, REJECTED, None))


Columns: TypeAlias = tuple[
    Sequence[str], Sequence[str], Sequence[int], Sequence[int], Sequence[str]
]


def _columns(part: Part, table: str, kept: npt.NDArray[np.int64] | None) -> Columns:
    """Read where the images lay, their paths, sizes, times and digests."""
    read = {name: part.column(table, name) for name in _Stored._fields}
    if kept is not None:
        read = {name: column[kept] for name, column in read.items()}
    root, path, size, mtime_ns, sha256 = (read[name].tolist() for name in _Stored._fields)
    return [*map(full_path, root, path)], path, size, mtime_ns, sha256


def _load(identities: _Identities, columns: Columns) -> None:
    places, paths, sizes, times, digests = columns
    identities.files.update(_hashes(zip(places, sizes, times, strict=True)))
    identities.names.update(_hashes(zip(paths, sizes, times, strict=True)))
    identities.digests.update(_hashes(zip(paths, digests, strict=True)))
    identities.exact.update(_hashes(zip(paths, sizes, times, digests, strict=True)))


def _hashes(keys: Iterable[object]) -> Keys:
    return np.fromiter(map(hash, keys), np.int64)


def _add(identities: _Identities, image: Image) -> None:
    here, path = full_path(image.root, image.path), image.path
    identities.files.add(hash((here, image.bytes, image.mtime_ns)))
    identities.names.add(hash((path, image.bytes, image.mtime_ns)))
    identities.digests.add(hash((path, image.sha256)))
    identities.exact.add(hash((path, image.bytes, image.mtime_ns, image.sha256)))


def row_ids(part: Part) -> Iterator[tuple[int, str]]:
    """Give the number in the part, and the id, of each row that counts."""
    ids = part.column(ROWS, "_index").tolist()
    numbers = range(len(ids)) if part.kept is None else part.kept.tolist()
    return ((number, ids[number]) for number in numbers)


def row_files(part: Part) -> Iterator[str]:
    """Give the full path of each row that counts, but of pictures that were no files."""
    roots, paths = (part.column(ROWS, name) for name in ("root", "path"))
    if part.kept is not None:
        roots, paths = roots[part.kept], paths[part.kept]
    rows = zip(roots.tolist(), paths.tolist(), strict=True)
    return (full_path(root, path) for root, path in rows if root)


class Locations:
    """Where the rows of images lie, looked up by the place of the file: in 20 bytes a row."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._waiting: list[tuple[Keys, npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
        self._hashes: Keys = np.empty(0, np.int64)
        self._parts: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def load(self, parts: Iterable[Part]) -> None:
        """Add the rows of parts."""
        for part in parts:
            rows = np.arange(part.header.rows) if part.kept is None else part.kept
            here = _columns(part, ROWS, part.kept)[0]
            self._waiting.append((_hashes(here), np.full(len(rows), len(self._names)), rows))
            self._names.append(part.entry.name)

    def find(self, here: str) -> list[tuple[str, int]]:
        """Give the part's name and the row's number in it, for each row of a file's place."""
        if self._waiting:
            columns = zip((self._hashes, self._parts, self._rows), *self._waiting, strict=True)
            hashes, parts, rows = (np.concatenate(each) for each in columns)
            order = np.argsort(hashes, kind="stable")
            self._hashes, self._parts, self._rows = hashes[order], parts[order], rows[order]
            self._waiting.clear()
        first, last = (int(np.searchsorted(self._hashes, hash(here), side)) for side in _SIDES)
        found = zip(self._parts[first:last].tolist(), self._rows[first:last], strict=True)
        return [(self._names[part], int(row)) for part, row in found]
