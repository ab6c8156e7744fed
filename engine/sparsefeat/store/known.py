"""Which pictures a store holds already: what resuming asks."""

import threading
from collections.abc import Iterable
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsefeat.store.part import Part
from sparsefeat.store.tables import REJECTED, ROWS, place
from sparsefeat.types import Reject, Row

Status: TypeAlias = Literal["stored", "rejected", "elsewhere", "changed", "new"]

_RECENT = 1 << 16


class _Stored(NamedTuple):
    root: str
    path: str
    bytes: int
    mtime_ns: int
    sha256: str


Picture: TypeAlias = Row | Reject | _Stored


class KeySet:
    """A set of 64-bit hashes in 8 bytes each.

    Among a million pictures, the chance that any is taken for another is 1 in 10 million.
    """

    def __init__(self) -> None:
        self._sorted: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._recent: set[int] = set()
        self._lock = threading.Lock()

    def add(self, key: int) -> None:
        """Add a hash."""
        with self._lock:
            self._recent.add(key)
            if len(self._recent) >= _RECENT:
                recent = np.fromiter(self._recent, np.uint64, len(self._recent))
                self._sorted = np.union1d(self._sorted, recent)
                self._recent.clear()

    def __contains__(self, key: int) -> bool:
        with self._lock:
            if key in self._recent:
                return True
            found = int(np.searchsorted(self._sorted, np.uint64(key)))
            return found < len(self._sorted) and int(self._sorted[found]) == key


class _Identities:
    """One kind of outcome's pictures, by everything they may be looked up by."""

    def __init__(self) -> None:
        self.files, self.names, self.digests, self.exact = (KeySet() for _ in range(4))

    def add(self, picture: Picture) -> None:
        lies = place(picture.root, picture.path)
        self.files.add(_hash(lies, picture.bytes, picture.mtime_ns))
        self.names.add(_hash(picture.path, picture.bytes, picture.mtime_ns))
        self.digests.add(_hash(picture.path, picture.sha256))
        self.exact.add(_hash_exactly(picture))


class Known:
    """The pictures that gave a row or a reject, looked up by identity.

    Safe to ask in one thread while another appends.
    """

    def __init__(self) -> None:
        self._rows, self._rejects, self._places = _Identities(), _Identities(), KeySet()

    def row(
        self, *, root: str, path: str, bytes: int, mtime_ns: int, sha256: str | None = None
    ) -> Status:
        """Tell what the store knows of a picture.

        Parameters
        ----------
        root, path, bytes, mtime_ns
            As in `sparsefeat.types.Row`.
        sha256
            If given, a picture is the same one if path and digest agree, whatever its time
            and its root.

        Returns
        -------
        Status
            "stored", "rejected" or "new"; "elsewhere": there is one of this path, size and time,
            but it lay under another root (a digest would tell whether the folder was moved);
            "changed": there is a row for this path under this root, of another size or time,
            or digest.
        """
        if sha256 is not None:
            digest = _hash(path, sha256)
            if digest in self._rows.digests:
                return "stored"
            if digest in self._rejects.digests:
                return "rejected"
        else:
            file = _hash(place(root, path), bytes, mtime_ns)
            if file in self._rows.files:
                return "stored"
            if file in self._rejects.files:
                return "rejected"
            name = _hash(path, bytes, mtime_ns)
            if name in self._rows.names or name in self._rejects.names:
                return "elsewhere"
        return "changed" if _hash(place(root, path)) in self._places else "new"

    def holds(self, picture: Picture) -> bool:
        """Tell whether there is a row of the same path, size, time and digest."""
        return _hash_exactly(picture) in self._rows.exact

    def add_row(self, picture: Picture) -> None:
        """Note a picture that gave a row."""
        self._rows.add(picture)
        self._places.add(_hash(place(picture.root, picture.path)))

    def add_reject(self, picture: Picture) -> None:
        """Note a picture that could not be read."""
        self._rejects.add(picture)


def load_known(parts: Iterable[Part]) -> Known:
    """Read which pictures the parts hold."""
    known = Known()
    for part in parts:
        for picture in _pictures(part, ROWS):
            known.add_row(picture)
        for picture in _pictures(part, REJECTED):
            known.add_reject(picture)
    return known


def _pictures(part: Part, table: str) -> Iterable[_Stored]:
    columns = (part.column(table, column).tolist() for column in _Stored._fields)
    return map(_Stored._make, zip(*columns, strict=True))


def _hash(*fields: str | int) -> int:
    text = "\0".join(map(str, fields))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _hash_exactly(picture: Picture) -> int:
    return _hash(picture.path, picture.bytes, picture.mtime_ns, picture.sha256)
