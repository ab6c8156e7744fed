"""Making one store of several."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsefeat.errors import InputError, StoreError
from sparsefeat.paths import checked_path, checked_paths
from sparsefeat.store.committed import check_alike, survey
from sparsefeat.store.folder import locked
from sparsefeat.store.kept import first_rows, standing_rejects
from sparsefeat.store.layout import folder_bytes, require_parts
from sparsefeat.store.packing import Source, pack
from sparsefeat.store.part import Part
from sparsefeat.store.part_writer import PartLimits
from sparsefeat.store.rewriting import RowCounter, write_group
from sparsefeat.store.strangers import strangers

_ADVICE = "merge stores of the same model, settings and layers"


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
    rows_per_part: int = 1024,
    bytes_per_part: int = 1 << 30,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Merge:
    """Write the rows of several stores into another one; the sources stay as they are.

    Rows come in the order of the sources, each row id once. Rejects come along unless their
    picture gave a row, or a later reject. The output is made, or appended to: a merge that was
    stopped or killed goes on when it is called again.

    Parameters
    ----------
    sources
        Stores that agree in settings and layers.
    output
        Another folder.
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
    StoreLockedError
        Another process is writing to the output.
    StoreChangedError
        A source was compacted meanwhile.
    StoreCorruptError
        A part is damaged.
    StoreWriteError
        The disk refused. What was committed before stays.
    StoreError
        The output holds something else; or a source nodes or keys that this version doesn't know.
    InputError
        No source was named, or the output is or lies in one.

    Examples
    --------
    >>> merge(["monday/", "tuesday/"], "week/").rows  # doctest: +SKIP
    2000
    """
    folders, output = checked_paths(sources, "a store"), checked_path(output, "a store")
    limits = PartLimits(rows=rows_per_part, n_bytes=bytes_per_part)
    _check_apart(folders, output)
    parts = [part for folder in folders for part in _read(folder)]
    check_alike(parts, advice=_ADVICE)
    _check_known(parts)
    written = []
    bytes_added = 0
    with locked(output, make=True) as (hold, before):
        check_alike([*before, *parts], advice=_ADVICE)
        wanted = _wanted(parts, before)
        groups = list(pack((each for each in wanted if len(each.rows) or each.rejects), limits))
        counter = RowCounter(wanted, progress)
        for group in groups:
            if stop is not None and stop.is_set():
                break
            hold.check()
            bytes_added += folder_bytes(write_group(output, group, wrote=counter.add))
            written.append(group)
    added = [source for group in written for source in group]
    return Merge(
        rows=sum(len(source.rows) for source in added),
        rejected=sum(len(source.rejects) for source in added),
        duplicates=sum(source.duplicates for source in wanted),
        parts=len(written),
        bytes_added=bytes_added,
        stopped=len(written) < len(groups),
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


def _read(folder: Path) -> list[Part]:
    require_parts(folder)
    return survey(folder).sound()


def _check_known(parts: Sequence[Part]) -> None:
    for part in parts:
        if unknown := strangers(part):
            raise StoreError(
                f"{part.path} holds {', '.join(unknown[:3])}, expected nothing that this version "
                "doesn't know and would lose: upgrade sparsefeat, or take them out of a copy"
            )


def _wanted(parts: Sequence[Part], before: Sequence[Part]) -> list[Source]:
    """Find out what of the sources is to be written into an output that holds some parts."""
    rows = first_rows([*before, *parts])[len(before) :]
    # The output's own count as the later ones, or each merge would add the same again.
    rejects = standing_rejects([*parts, *before])[: len(parts)]
    return [
        Source(part=part, rows=kept, rejects=lines)
        for part, kept, lines in zip(parts, rows, rejects, strict=True)
    ]
