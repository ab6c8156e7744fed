"""Making one store of several."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsefeat.errors import InputError, StoreMismatchError
from sparsefeat.storage import LocalStorage
from sparsefeat.store.dataset.gather import by_part
from sparsefeat.store.dataset.index import row_ids
from sparsefeat.store.dataset.log import Change, Log, Snapshot, claim, excluding
from sparsefeat.store.dataset.store import Store
from sparsefeat.store.dataset.tables import standing_rejects
from sparsefeat.store.format.documents import PartEntry, differences
from sparsefeat.store.maintenance.compact import RowCounter, Source, pack, write_group
from sparsefeat.store.part.read import Part
from sparsefeat.store.part.tables import INDEX, ROWS
from sparsefeat.store.part.write import PartLimits
from sparsefeat.system.paths import checked_path, checked_paths


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """What a merge did.

    Parameters
    ----------
    rows, rejected
        Rows and rejects that were added.
    duplicates
        Rows that were left out, since the output or an earlier source has one of the same id.
    parts
        Parts that were added.
    bytes_added
        Their size.
    stopped
        It was told to stop, and there is more to do.
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

    Rows come in the order of the sources, each row id once. Rejects come along unless their
    image gave a row, or a later reject. The output is made, or appended to: a merge that was
    stopped or killed goes on when it is called again.

    Parameters
    ----------
    sources
        Stores that agree in settings and layers.
    output
        Another folder.
    where
        Only rows for which this condition holds, as `Store.where` takes it; no rejects then.
    rows_per_part, bytes_per_part
        Size of a full part, the bytes before compression. A source's part is never split.
    progress
        Called with the number of rows written, about, and their total.
    stop
        Once set, the merge ends after the part in hand.

    Raises
    ------
    StoreNotFoundError
        A source is no store.
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
        No source was named, the output is or lies in one, or `where` is no condition.

    Examples
    --------
    >>> merge(["monday/", "tuesday/"], "week/").rows  # doctest: +SKIP
    2000
    """
    folders = checked_paths(sources, "a store to merge")
    output = checked_path(output, "the output")
    limits = PartLimits(rows=rows_per_part, n_bytes=bytes_per_part)
    _check_apart(folders, output)
    stores = [Store(folder) for folder in folders]
    storage = LocalStorage(output)
    log = Log(storage)
    latest = log.newest()
    _check_alike([store.snapshot for store in stores], folders)
    if latest is not None:
        _check_alike([latest, stores[0].snapshot], [output, folders[0]])
    wanted, duplicates = _wanted(stores, where, storage, latest)
    made = claim(storage)
    groups = list(pack((each for each in wanted if len(each.rows) or len(each.rejects)), limits))
    counter = RowCounter(wanted, progress)
    added: list[PartEntry] = []
    try:
        for group in groups:
            if stop is not None and stop.is_set():
                break
            first = stores[0].snapshot
            entry = write_group(storage, first.layers, group, wrote=counter.add)
            latest = _append(log, storage, latest, first, entry)
            added.append(latest.by_name[entry.name])
    finally:
        if latest is None:
            storage.unmake(made)
    return Merge(
        rows=sum(entry.n_rows for entry in added),
        rejected=sum(entry.rejected for entry in added),
        duplicates=duplicates + sum(entry.n_excluded for entry in added),
        parts=len(added),
        bytes_added=sum(entry.n_bytes for entry in added),
        stopped=len(added) < len(groups),
    )


def _check_apart(folders: Sequence[Path], output: Path) -> None:
    if not folders:
        raise InputError("no store was named, expected at least one: name those to merge")
    for folder in folders:
        if output.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"the output {output} is or lies in {folder}, one of the stores to merge, "
                "expected another folder: choose one, or merge the others into it"
            )


def _check_alike(snapshots: Sequence[Snapshot], folders: Sequence[Path]) -> None:
    for snapshot, folder in zip(snapshots[1:], folders[1:], strict=True):
        if different := differences(snapshot.identity(), snapshots[0].identity()):
            raise StoreMismatchError(
                f"{folder} and {folders[0]} have other settings: {'; '.join(different)}: "
                "merge stores of the same model, settings and layers"
            )


def _wanted(
    stores: Sequence[Store], where: str | None, storage: LocalStorage, output: Snapshot | None
) -> tuple[list[Source], int]:
    """Find out what of the sources is to be written, and how many rows are there already."""
    there = [Part(storage, entry) for entry in output.parts] if output else []
    parts = [part for store in stores for part in store.parts]
    # The output's own count as the later ones, or each merge would add the same again.
    rejects = standing_rejects([*parts, *there])[: len(parts)]
    seen = {id for part in there for _, id in row_ids(part)}
    chosen = {
        wanted.part.entry.name: wanted.rows
        for store in stores
        for wanted in by_part(
            store.opened, np.arange(store.n_rows) if where is None else store.where(where)
        )
    }
    sources = []
    duplicates = 0
    for part, lines in zip(parts, rejects, strict=True):
        rows = chosen.get(part.entry.name, np.empty(0, np.int64))
        ids = part.column(ROWS, INDEX)[rows].tolist()
        fresh = []
        for row, id in zip(rows.tolist(), ids, strict=True):
            if id not in seen:
                seen.add(id)
                fresh.append(row)
        duplicates += len(rows) - len(fresh)
        kept = lines if where is None else lines[:0]
        sources.append(Source(part=part, rows=np.array(fresh, np.int64), rejects=kept))
    return sources, duplicates


def _append(
    log: Log, storage: LocalStorage, latest: Snapshot | None, like: Snapshot, entry: PartEntry
) -> Snapshot:
    """Commit a part, without rows that another writer has committed meanwhile."""
    if latest is None:
        change = Change(operation="merge", parts=[entry])
        first = log.create(like.settings, like.layers, like.values, change)
        if first is not None:
            return first
        latest = log.require()
        _check_alike([like, latest], [storage.root, storage.root])
        known: set[str] = set()
    else:
        known = {each.name for each in latest.parts}
    ids = {id: number for number, id in row_ids(Part(storage, entry))}
    duplicates: set[int] = set()

    def appended(latest: Snapshot) -> Change:
        for other in latest.parts:
            if other.name not in known:
                known.add(other.name)
                theirs = (id for _, id in row_ids(Part(storage, other)))
                duplicates.update(ids[id] for id in theirs if id in ids)
        parts = [*latest.parts, excluding(entry, sorted(duplicates))]
        return Change(operation="merge", parts=parts)

    return log.commit(latest, appended)
