"""Making few full parts of many small ones, in place."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sparsefeat.paths import checked_path
from sparsefeat.store.committed import check_alike, survey
from sparsefeat.store.folder import locked, remove_replaced
from sparsefeat.store.layout import folder_bytes, part_number, require_parts
from sparsefeat.store.packing import Source, is_small, pack, read_sources
from sparsefeat.store.part import Part
from sparsefeat.store.part_writer import PartLimits
from sparsefeat.store.ranges import Ranges
from sparsefeat.store.rewriting import RowCounter, write_group
from sparsefeat.store.strangers import strangers


@dataclass(frozen=True, kw_only=True, slots=True)
class Compaction:
    """What a compaction did, or would do.

    Parameters
    ----------
    parts_before, parts_after
        Parts in the store.
    groups
        The names of the parts that were written into one new part each.
    rows
        Rows that the new parts hold.
    duplicates
        Rows that were left out, since an earlier row has the same id.
    resolved
        Rejects that were left out, since their picture gave a row or a later reject.
    bytes_before
        Size of the parts that were replaced.
    bytes_after
        Size of the new ones; None if none was written, but would be.
    stopped
        It was told to stop, and there is more to do.
    """

    parts_before: int
    parts_after: int
    groups: tuple[tuple[str, ...], ...]
    rows: int
    duplicates: int
    resolved: int
    bytes_before: int
    bytes_after: int | None
    stopped: bool = False


def compact(
    folder: str | Path,
    *,
    everything: bool = False,
    rows_per_part: int = 1024,
    bytes_per_part: int = 1 << 30,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Compaction:
    """Write small neighbouring parts of a store into full ones, and remove them.

    Rows, their order and their values stay as they are. Left out are rows whose id is in an
    earlier row, and rejects that a reader leaves out. Each new part takes the place of those
    that it was made of in one step: whenever this is killed, every row is there once, and what
    there is to remove is removed by whoever writes next. Others may read meanwhile; a `Store`
    that was opened before raises `StoreChangedError` once it reads a part that has gone.

    Parts with nodes or keys that this version doesn't know are left alone: they would be lost.

    Parameters
    ----------
    folder
        The store.
    everything
        Write full parts anew, too: encodings and compression are chosen again.
    rows_per_part, bytes_per_part
        Size of a full part, the bytes before compression. Less than half of both is small. A
        part is never split.
    dry_run
        Only tell what would be done.
    progress
        Called with the number of rows written, about, and their total.
    stop
        Once set, the compaction ends after the part in hand.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    StoreMismatchError
        Its parts don't belong together.
    StoreLockedError
        Another process is writing to it.
    StoreCorruptError
        A part is damaged; those before it were compacted.
    StoreWriteError
        The disk refused. All rows are there as before.
    InputError
        A part is to be of no rows or bytes.

    Examples
    --------
    >>> compact("features/").parts_after  # doctest: +SKIP
    3
    """
    folder = checked_path(folder, "a store")
    limits = PartLimits(rows=rows_per_part, n_bytes=bytes_per_part)
    require_parts(folder)
    if dry_run:
        sources = _sources(survey(folder).sound())
        groups = _groups(sources, limits, everything=everything)
        bytes_before = sum(folder_bytes(each.part.path) for group in groups for each in group)
        return _compaction(sources, groups, bytes_before=bytes_before, bytes_after=None)
    done = []
    bytes_before = bytes_after = 0
    with locked(folder) as (hold, parts):
        sources = _sources(parts)
        groups = _groups(sources, limits, everything=everything)
        counter = RowCounter((source for group in groups for source in group), progress)
        for group in groups:
            if stop is not None and stop.is_set():
                break
            hold.check()
            paths = [source.part.path for source in group]
            bytes_before += sum(map(folder_bytes, paths))
            new = write_group(folder, group, replaces=_numbers(group), wrote=counter.add)
            bytes_after += folder_bytes(new)
            remove_replaced(folder, paths)
            done.append(group)
    return _compaction(
        sources,
        done,
        bytes_before=bytes_before,
        bytes_after=bytes_after,
        stopped=len(done) < len(groups),
    )


def _sources(parts: Sequence[Part]) -> list[Source]:
    check_alike(parts, advice="move one of them elsewhere")
    return read_sources(parts)


def _groups(
    sources: Sequence[Source], limits: PartLimits, *, everything: bool
) -> list[list[Source]]:
    """Group neighbours that are worth writing anew."""

    def is_meant(source: Source) -> bool:
        meant = everything or source.duplicates > 0 or is_small(source, limits)
        return meant and not strangers(source.part)

    runs = (list(run) for meant, run in groupby(sources, is_meant) if meant)
    groups = (group for run in runs for group in pack(run, limits))
    return [
        group
        for group in groups
        if everything or len(group) > 1 or any(source.duplicates for source in group)
    ]


def _numbers(group: Sequence[Source]) -> Ranges:
    """Give the numbers that a new part takes over: what was taken over before stays explained."""
    pairs = []
    for source in group:
        number = part_number(source.part.path.name)
        assert number is not None
        pairs += [(number, number), *source.part.header.replaces.pairs]
    return Ranges.of(pairs)


def _compaction(
    sources: Sequence[Source],
    groups: Sequence[Sequence[Source]],
    *,
    bytes_before: int,
    bytes_after: int | None,
    stopped: bool = False,
) -> Compaction:
    replaced = [source for group in groups for source in group]
    return Compaction(
        parts_before=len(sources),
        parts_after=len(sources) - len(replaced) + len(groups),
        groups=tuple(tuple(source.part.path.name for source in group) for group in groups),
        rows=sum(len(source.rows) for source in replaced),
        duplicates=sum(source.duplicates for source in replaced),
        resolved=sum(source.resolved for source in replaced),
        bytes_before=bytes_before,
        bytes_after=bytes_after,
        stopped=stopped,
    )
