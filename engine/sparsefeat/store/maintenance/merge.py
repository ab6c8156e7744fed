"""Joining several stores into one."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsefeat.errors import InputError, StoreMismatchError
from sparsefeat.storage import Storage, open_storage, validate_location
from sparsefeat.store.dataset import (
    Change,
    Log,
    Snapshot,
    Store,
    by_part,
    claim,
    excluding,
    row_ids,
    standing_rejects,
)
from sparsefeat.store.format import PartEntry, differences
from sparsefeat.store.maintenance.compact import Lines, RowCounter, Selected, pack, write_group
from sparsefeat.store.part import INDEX, ROWS, Part, PartLimits, open_parts
from sparsefeat.system import overlapped


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """What a merge did.

    Parameters
    ----------
    rows, rejected
        Rows and rejects that were added.
    duplicates
        Rows that were left out, since the output or an earlier source has a row of the same id.
    parts
        Parts that were added.
    bytes_added
        Their size.
    stopped
        Whether it was told to stop while there was more to do.
    """

    rows: int
    rejected: int
    duplicates: int
    parts: int
    bytes_added: int
    stopped: bool = False


def merge(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    where: str | None = None,
    rows_per_part: int = 1024,
    bytes_per_part: int = 1 << 30,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Merge:
    """Write the rows of several stores into another one; the sources stay as they are.

    Rows have the order of the sources, and each row id is added once. Rejects are copied unless
    their image has a row or a later reject. The output is created, or appended to: to continue a
    merge that was stopped or killed, call it again.

    Parameters
    ----------
    sources
        Stores that agree in settings and layers.
    output
        Another folder.
    where
        Copy only rows for which this condition holds, and no rejects: see `Store.where`.
    rows_per_part, bytes_per_part
        Size of a full part, in rows and in bytes before compression. A source's part is never
        split.
    progress
        Called with the approximate number of rows written, and their total.
    stop
        Once set, the merge ends after the current part.

    Raises
    ------
    StoreNotFoundError
        A source is not a store.
    StoreMismatchError
        The stores differ in settings or layers.
    StoreChangedError
        A source's part was deleted by `vacuum` meanwhile.
    StoreCorruptError
        A part is damaged.
    StoreReadError, StoreWriteError
        The system refused. What was committed before stays.
    StoreError
        The output holds something else.
    InputError
        No source was named, the output is or lies in one, or `where` is not a condition.

    Examples
    --------
    >>> merge(["monday/", "tuesday/"], "week/").rows  # doctest: +SKIP
    2000
    """
    if isinstance(sources, str | bytes | os.PathLike) or not isinstance(sources, Iterable):
        sources = [sources]
    folders = [validate_location(source, "a store to merge") for source in sources]
    output = validate_location(output, "the output")
    limits = PartLimits(rows=rows_per_part, n_bytes=bytes_per_part)
    _check_apart(folders, output)
    stores = [Store(folder) for folder in folders]
    storage = open_storage(output)
    latest = Log(storage).newest()
    _check_alike([store.snapshot for store in stores], folders)
    if latest is not None:
        _check_alike([latest, stores[0].snapshot], [output, folders[0]])
    wanted, duplicates = _wanted(stores, where, storage, latest)
    made = claim(storage)
    target = _Output(storage, latest, like=stores[0].snapshot)
    layers = (latest or stores[0].snapshot).layers  # a source may have them in another order
    groups = list(pack((each for each in wanted if len(each.rows) or len(each.rejects)), limits))
    counter = RowCounter(wanted, progress)
    added: list[PartEntry] = []
    try:
        for group in groups:
            if stop is not None and stop.is_set():
                break
            entry = write_group(storage, layers, group, wrote=counter.add)
            added.append(target.append(entry))
    finally:
        if target.latest is None:
            storage.unmake(made)
    listed = [entry for entry in added if entry.n_rows or entry.rejected]
    return Merge(
        rows=sum(entry.n_rows for entry in added),
        rejected=sum(entry.rejected for entry in added),
        duplicates=duplicates + sum(entry.n_excluded for entry in added),
        parts=len(listed),
        bytes_added=sum(entry.n_bytes for entry in listed),
        stopped=len(added) < len(groups),
    )


def _check_apart(folders: Sequence[Path | str], output: Path | str) -> None:
    if not folders:
        raise InputError("no store was named: name those to merge")
    for folder in folders:
        if _lies_in(output, folder):
            raise InputError(
                f"the output {output} is or lies in {folder}, one of the stores to merge: "
                "choose another folder, or merge the others into it"
            )


def _lies_in(output: Path | str, folder: Path | str) -> bool:
    if isinstance(output, Path) and isinstance(folder, Path):
        return output.resolve().is_relative_to(folder.resolve())
    return f"{output}/".startswith(f"{folder}/")


def _check_alike(snapshots: Sequence[Snapshot], folders: Sequence[Path | str]) -> None:
    for snapshot, folder in zip(snapshots[1:], folders[1:], strict=True):
        if different := differences(snapshot.identity(), snapshots[0].identity()):
            raise StoreMismatchError(
                f"{folder} and {folders[0]} have other settings: {'; '.join(different)}: "
                "merge stores of the same model, settings and layers"
            )


def _wanted(
    stores: Sequence[Store], where: str | None, storage: Storage, output: Snapshot | None
) -> tuple[list[Selected], int]:
    """Find out what to write of the sources, and how many of their rows the output has already."""
    there = open_parts(storage, output.parts) if output else []
    parts: list[Part] = []
    chosen: list[Lines] = []
    for store in stores:
        numbers = np.arange(store.n_rows) if where is None else store.where(where)
        # By the part itself: a copy of a store has parts of the same names.
        some = {id(each.part): each.rows for each in by_part(store.opened, numbers)}
        parts += store.parts
        chosen += [some.get(id(part), np.empty(0, np.int64)) for part in store.parts]
    # The output's own rejects count as later ones, or each merge would add the same ones again.
    rejects = standing_rejects([*parts, *there], storage.reads_at_once)[: len(parts)]
    at_once = max(store.storage.reads_at_once for store in stores)
    stored = overlapped(lambda part: [*row_ids(part)], there, storage.reads_at_once)
    seen = {row for rows in stored for _, row in rows}
    ids = overlapped(lambda part: part.column(ROWS, INDEX), parts, at_once)
    sources = []
    duplicates = 0
    for part, rows, numbers, lines in zip(parts, ids, chosen, rejects, strict=True):
        fresh = []
        for number, row in zip(numbers.tolist(), rows[numbers].tolist(), strict=True):
            if row not in seen:
                seen.add(row)
                fresh.append(number)
        duplicates += len(numbers) - len(fresh)
        kept = lines if where is None else lines[:0]
        sources.append(Selected(part=part, rows=np.array(fresh, np.int64), rejects=kept))
    return sources, duplicates


class _Output:
    """The store that is appended to, while others may append to it too.

    `latest` is its newest snapshot, which `_wanted` has read; `like` has the settings for a new
    store.
    """

    def __init__(self, storage: Storage, latest: Snapshot | None, *, like: Snapshot) -> None:
        self._storage, self._log, self._like = storage, Log(storage), like
        self.latest = latest
        self._known = set() if latest is None else {*latest.by_name}
        self._others: set[str] = set()  # ids of rows that others have committed since

    def append(self, entry: PartEntry) -> PartEntry:
        """Commit a part, without rows that others have committed meanwhile.

        If nothing is left of the part, it is not committed.
        """
        if self.latest is None:
            like, change = self._like, Change(operation="merge", parts=[entry])
            self.latest = self._log.create(like.settings, like.layers, like.values, change)
            if self.latest is None:  # another writer was faster
                self.latest = self._log.require()
                _check_alike([self.latest, self._like], [self._storage.location] * 2)
                if self.latest.layers != self._like.layers:
                    raise StoreMismatchError(
                        f"{self._storage.location} was made meanwhile by another process, with the "
                        "same layers in another order: run the same command again"
                    )
        if entry.name not in self.latest.by_name:
            ids = [*row_ids(Part(self._storage, entry))]
            self.latest = self._log.commit(
                self.latest, lambda latest: self._appended(latest, entry, ids), parts=[entry.name]
            )
        self._known.add(entry.name)
        return self.latest.by_name.get(entry.name) or excluding(entry, range(entry.rows))

    def _appended(
        self, latest: Snapshot, entry: PartEntry, ids: Sequence[tuple[int, str]]
    ) -> Change | None:
        for other in open_parts(
            self._storage, (each for each in latest.parts if each.name not in self._known)
        ):
            self._known.add(other.entry.name)
            self._others.update(row for _, row in row_ids(other))
        duplicates = [number for number, row in ids if row in self._others]
        ours = excluding(entry, duplicates)
        if not (ours.n_rows or ours.rejected):
            return None
        return Change(operation="merge", parts=[*latest.parts, ours])
