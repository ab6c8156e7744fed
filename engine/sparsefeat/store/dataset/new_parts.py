"""Parts that are to be committed, and which of their rows are left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from sparsefeat.store.dataset.index import Index
from sparsefeat.store.dataset.snapshot import exclude_rows
from sparsefeat.store.format import PartEntry
from sparsefeat.store.part import INDEX, ROWS, Part, full_path, row_id
from sparsefeat.types import Row


@dataclass(slots=True)
class NewPart:
    """A part to be committed, and the identity of each of its rows.

    Attributes
    ----------
    entry
        The part, of which no row is excluded yet.
    ids
        Ids of its rows.
    files
        Full paths of their images; empty for what came from no file.
    left_out
        Numbers of rows that its commit excludes.
    """

    entry: PartEntry
    ids: Sequence[str]
    files: Sequence[str]
    left_out: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, entry: PartEntry, rows: Sequence[Row]) -> Self:
        """Describe a part by the records that were written to it."""
        files = [full_path(row.root, row.path) if row.root else "" for row in rows]
        return cls(entry, [row_id(row) for row in rows], files)

    @classmethod
    def read(cls, part: Part) -> Self:
        """Read a part that another process has written."""
        roots, paths, ids = (part.column(ROWS, name).tolist() for name in ("root", "path", INDEX))
        rows = zip(roots, paths, strict=True)
        return cls(part.entry, ids, [full_path(root, path) if root else "" for root, path in rows])

    def leave_out(self, ids: set[str], files: set[str]) -> None:
        """Leave out rows that have one of these ids or files."""
        rows = enumerate(zip(self.ids, self.files, strict=True))
        self.left_out.update(n for n, (id, file) in rows if id in ids or file in files)


def leave_out_repeated(parts: Sequence[NewPart]) -> None:
    """Leave out rows whose id an earlier part of the list has."""
    seen: set[str] = set()
    for part in parts:
        part.leave_out(seen, set())
        seen.update(part.ids)


def leave_out_replaced(parts: Sequence[NewPart]) -> None:
    """Leave out rows that a later row of the same file, in the same or a later part, replaces."""
    seen: set[str] = set()
    for part in reversed(parts):
        for number in reversed(range(len(part.files))):
            file = part.files[number]
            if file in seen:
                part.left_out.add(number)
            elif file and number not in part.left_out:
                seen.add(file)


def to_commit(parts: Sequence[NewPart]) -> list[PartEntry]:
    """Give the entries to commit, without parts that have neither rows nor rejects."""
    left_out = {part.entry.name: sorted(part.left_out) for part in parts}
    return exclude_rows((part.entry for part in parts), left_out)


def without_replaced(
    parts: Iterable[PartEntry], new: Sequence[NewPart], index: Index
) -> list[PartEntry]:
    """Exclude from a snapshot's parts the rows of files that have a new row."""
    replaced: dict[str, list[int]] = {}
    for part in new:
        for number, file in enumerate(part.files):
            if file and number not in part.left_out:
                # Also in parts that were replaced: their successors are in the index as well.
                for name, row in index.find(file):
                    replaced.setdefault(name, []).append(row)
    return exclude_rows(parts, replaced)
