"""A snapshot: what a store is at one moment, and how its file refers to earlier ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import msgspec

from sparsefeat.store.format import (
    FORMAT,
    JSON,
    PartEntry,
    SnapshotDocument,
    damaged,
    identity,
)
from sparsefeat.types import Layer

LONGEST_CHAIN: Final = 3  # snapshots that must be read to know one


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A store at one moment.

    Attributes
    ----------
    number
        Which one: each commit adds 1.
    created
        When, by the writer's clock.
    operation
        What made it: ``extract``, ``compact``, ...
    settings, layers, values
        What all parts agree on.
    parts
        In the order of the rows.
    """

    number: int
    created: str
    operation: str
    settings: dict[str, JSON]
    layers: tuple[Layer, ...]
    values: str
    parts: tuple[PartEntry, ...]
    base: "Snapshot | None" = field(default=None, repr=False)
    checksum: str = field(default="", repr=False)

    @property
    def n_rows(self) -> int:
        """Number of rows that are not excluded."""
        return sum(entry.n_rows for entry in self.parts)

    @cached_property
    def by_name(self) -> Mapping[str, PartEntry]:
        """The parts by their names."""
        return {entry.name: entry for entry in self.parts}

    @property
    def chain(self) -> "tuple[Snapshot, ...]":
        """The snapshot itself, and those that its file refers to."""
        return (self,) if self.base is None else (self, *self.base.chain)

    def identity(self) -> dict[str, JSON]:
        """Give what all parts agree on."""
        return identity(self.layers, self.settings, self.values)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a commit changes: the operation, and all parts after it, in the order of the rows."""

    operation: str
    parts: Sequence[PartEntry]


def choose_base(after: Snapshot, before: Snapshot) -> Snapshot | None:
    """Choose the snapshot that a snapshot's file refers to; None makes it a full one.

    A commit must not write all parts every time, and a reader must not need many files. So a
    snapshot refers to a middle one, which refers to a full one. Of N parts, the snapshot lists at
    most (2N)**(1/3), and the middle one (2N)**(2/3).
    """
    full = 2 * len(after.parts)
    limits = {1: max(64, round(full ** (2 / 3))), 2: max(16, round(full ** (1 / 3)))}
    for candidate in before.chain:
        depth = len(candidate.chain)
        if (
            depth < LONGEST_CHAIN
            and _continues(after, candidate)
            and len(_changes(after, candidate)) <= limits[depth]
        ):
            return candidate
    return None


def _continues(after: Snapshot, base: Snapshot) -> bool:
    """Tell whether the parts of `base` are still the first ones, in the same order."""
    first = after.parts[: len(base.parts)]
    return [entry.name for entry in first] == [entry.name for entry in base.parts]


def _changes(after: Snapshot, base: Snapshot) -> tuple[PartEntry, ...]:
    return tuple(entry for entry in after.parts if base.by_name.get(entry.name) != entry)


def document_of(snapshot: Snapshot, base: Snapshot | None) -> SnapshotDocument:
    """Make the document of a snapshot's file: all of it, or how it differs from `base`."""
    common: dict[str, Any] = {
        "format": FORMAT,
        "number": snapshot.number,
        "created": snapshot.created,
        "operation": snapshot.operation,
        "rows": snapshot.n_rows,
    }
    if base is not None:
        return SnapshotDocument(
            **common, parts=_changes(snapshot, base), base=(base.number, base.checksum)
        )
    return SnapshotDocument(
        **common,
        parts=snapshot.parts,
        settings=snapshot.settings,
        layers={layer.name: layer.shape for layer in snapshot.layers},
        values=snapshot.values,
    )


def resolve(
    document: SnapshotDocument, base: Snapshot | None, checksum: str, where: str
) -> Snapshot:
    """Put a snapshot together from its file and the snapshot that it refers to."""
    if base is None:
        assert document.settings is not None
        assert document.layers is not None
        assert document.values is not None
        settings, values, parts = document.settings, document.values, document.parts
        layers = tuple(Layer(name=name, shape=shape) for name, shape in document.layers.items())
    else:
        settings, values, layers = base.settings, base.values, base.layers
        changed = {entry.name: entry for entry in document.parts}
        known = base.by_name
        parts = (
            *(changed.get(entry.name, entry) for entry in base.parts),
            *(entry for entry in document.parts if entry.name not in known),
        )
    if not layers or any(len(entry.layers) != len(layers) for entry in parts):
        raise damaged(where, "it lists parts of other layers")
    return Snapshot(
        number=document.number,
        created=document.created,
        operation=document.operation,
        settings=settings,
        layers=layers,
        values=values,
        parts=parts,
        base=base,
        checksum=checksum,
    )


def excluding(entry: PartEntry, rows: Sequence[int]) -> PartEntry:
    """Exclude rows of a part, besides those that are excluded already.

    Examples
    --------
    >>> entry = PartEntry(name="0" * 16, rows=9, rejected=0, n_bytes=1, crc32c="0" * 8, layers=())
    >>> excluding(excluding(entry, [4]), [1, 3]).excluded
    ((1, 2), (3, 5))
    """
    numbers = {row for start, stop in entry.excluded for row in range(start, stop)} | set(rows)
    ranges: list[list[int]] = []
    for row in sorted(numbers):
        if ranges and ranges[-1][1] == row:
            ranges[-1][1] = row + 1
        else:
            ranges.append([row, row + 1])
    return msgspec.structs.replace(entry, excluded=tuple((start, stop) for start, stop in ranges))


def exclude_rows(parts: Iterable[PartEntry], rows: Mapping[str, Sequence[int]]) -> list[PartEntry]:
    """Exclude rows, by the names of their parts; drop parts without rows and rejects."""
    changed = [
        excluding(entry, rows[entry.name]) if entry.name in rows else entry for entry in parts
    ]
    return [entry for entry in changed if entry.n_rows or entry.rejected]
