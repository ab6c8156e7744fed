"""Joining many small parts into few full ones."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from sparsefeat.errors import StoreError
from sparsefeat.storage import Storage, open_storage
from sparsefeat.store.dataset import (
    Change,
    Log,
    Snapshot,
    runs,
    standing_rejects,
    writing,
)
from sparsefeat.store.format import (
    CHUNK_ELEMENTS,
    JSON,
    JSON_BYTES,
    NNZ,
    SHARD,
    HalfValues,
    Loss,
    Origin,
    PartEntry,
    RoundedValues,
    Values,
    damaged,
)
from sparsefeat.store.maintenance.remove import Vacuum
from sparsefeat.store.maintenance.remove import vacuum as delete_unlisted
from sparsefeat.store.part import (
    COLUMNS,
    MAX_BYTES,
    REJECTED,
    REJECTS_PER_PART,
    ROWS,
    LinearEncoder,
    Part,
    PartLimits,
    PartWriter,
    Reencoder,
    RoundedEncoder,
    SquareEncoder,
    ValueEncoder,
    open_parts,
)
from sparsefeat.system import overlapped
from sparsefeat.types import ChannelScales, Layer, Reject, Row

T = TypeVar("T")
Lines = npt.NDArray[np.int64]

ORIGIN_BYTES_PER_PART: Final = JSON_BYTES // 4  # of the header, which has other content, too
# The size was checked when the group of parts was made.
_UNLIMITED: Final = PartLimits(rows=CHUNK_ELEMENTS - 1, n_bytes=MAX_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compaction:
    """What a compaction did, or would do.

    Parameters
    ----------
    parts_before, parts_after
        Parts that the store lists.
    groups
        For each new part, the names of the parts that it was made of.
    rows
        Rows that the new parts hold.
    resolved
        Rejects that were left out, since their image has a row or a later reject.
    bytes_before
        Size of the parts that were replaced: `vacuum` deletes them.
    bytes_after
        Size of the new parts; None if a dry run wrote none.
    lost
        Groups that were left as they are, since another process changed their parts meanwhile.
    stopped
        Whether it was told to stop while there was more to do.
    vacuumed
        What was deleted at its end; None unless `vacuum` was requested.
    """

    parts_before: int
    parts_after: int
    groups: tuple[tuple[str, ...], ...]
    rows: int
    resolved: int
    bytes_before: int
    bytes_after: int | None
    lost: int = 0
    stopped: bool = False
    vacuumed: Vacuum | None = None


def compact(
    folder: str | os.PathLike[str],
    *,
    everything: bool = False,
    vacuum: bool = False,
    rows_per_part: int = 1024,
    bytes_per_part: int = 1 << 30,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Compaction:
    """Replace small neighbouring parts of a store by full ones.

    Rows, their order and their values stay as they are. Rows that were removed or replaced are left
    out, and so are rejects that a reader leaves out. Each new part is committed by itself. Others
    may read, append and compact meanwhile; an open `Store` keeps the parts that it has, until
    `vacuum` deletes them.

    Parameters
    ----------
    folder
        The store.
    everything
        Rewrite full parts, too: encodings and compression are chosen again.
    vacuum
        Delete immediately what no longer belongs to the store; only if nobody else uses it.
    rows_per_part, bytes_per_part
        Size of a full part, in rows and in bytes before compression. A part with less than half of
        both is small. A part is never split.
    dry_run
        Only tell what would be done.
    progress
        Called with the approximate number of rows written, and their total.
    stop
        Once set, the compaction ends after the current part.

    Raises
    ------
    StoreNotFoundError
        There is no store.
    StoreCorruptError
        A part is damaged; those before it were compacted.
    StoreReadError, StoreWriteError
        The system refused. No row is lost.
    InputError
        A full part would have no rows or bytes.

    Examples
    --------
    >>> compact("features/").parts_after  # doctest: +SKIP
    3
    """
    storage = open_storage(folder)
    limits = PartLimits(rows=rows_per_part, n_bytes=bytes_per_part)
    log = Log(storage)
    before = latest = log.require()
    groups = _groups(storage, before, limits, everything=everything)
    done: list[list[Selected]] = []
    bytes_after = lost = 0
    vacuumed = None
    if not dry_run:
        counter = RowCounter((source for group in groups for source in group), progress)
        for group in groups:
            if stop is not None and stop.is_set():
                break
            entry = write_group(storage, before.layers, group, wrote=counter.add)
            latest = _commit(log, latest, group, entry)
            if entry.name in latest.by_name:
                bytes_after += entry.n_bytes
                done.append(group)
            else:
                lost += 1
        if vacuum:
            vacuumed = delete_unlisted(folder, older_than=0)
    written = groups if dry_run else done
    replaced = [source for group in written for source in group]
    return Compaction(
        parts_before=len(before.parts),
        parts_after=len(before.parts) - len(replaced) + len(written),
        groups=tuple(tuple(source.entry.name for source in group) for group in written),
        rows=sum(len(source.rows) for source in replaced),
        resolved=sum(source.resolved for source in replaced),
        bytes_before=sum(source.entry.n_bytes for source in replaced),
        bytes_after=None if dry_run else bytes_after,
        lost=lost,
        stopped=not dry_run and len(done) + lost < len(groups),
        vacuumed=vacuumed,
    )


def _commit(log: Log, latest: Snapshot, group: Sequence["Selected"], entry: PartEntry) -> Snapshot:
    """Replace the parts that a new one was made of, if their entries have not changed."""
    old = [source.entry for source in group]

    def replaced(latest: Snapshot) -> Change | None:
        if any(latest.by_name.get(each.name) != each for each in old):
            return None
        names = {each.name for each in old}
        parts = [
            entry if each.name == old[0].name else each
            for each in latest.parts
            if each.name == old[0].name or each.name not in names
        ]
        return Change(operation="compact", parts=parts)

    return log.commit(latest, replaced, parts=[entry.name])


def _groups(
    storage: Storage, snapshot: Snapshot, limits: PartLimits, *, everything: bool
) -> list[list["Selected"]]:
    """Group neighbouring parts that are worth rewriting."""

    def is_meant(source: Selected) -> bool:
        return everything or source.entry.n_excluded > 0 or is_small(source, limits)

    sources = read_sources(open_parts(storage, snapshot.parts))
    wanted = (list(run) for meant, run in groupby(sources, is_meant) if meant)
    groups = (group for run in wanted for group in pack(run, limits))
    return [
        group
        for group in groups
        if everything or len(group) > 1 or any(source.entry.n_excluded for source in group)
    ]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Selected:
    """A part, and which of its rows and rejects are written again: row and line numbers."""

    part: Part
    rows: Lines
    rejects: Lines

    @property
    def entry(self) -> PartEntry:
        """The part, as the snapshot lists it."""
        return self.part.entry

    @property
    def resolved(self) -> int:
        """Rejects that are not kept."""
        return self.entry.rejected - len(self.rejects)

    @property
    def n_bytes(self) -> int:
        """Approximate bytes of the kept rows before compression."""
        return part_bytes(self.part) * len(self.rows) // max(1, self.entry.rows)


def read_sources(parts: Sequence[Part]) -> list[Selected]:
    """Find out what is kept of each part; all are of one storage."""
    at_once = parts[0].storage.reads_at_once if parts else 1
    return [
        Selected(
            part=part,
            rows=np.arange(part.header.rows) if part.kept is None else part.kept,
            rejects=rejects,
        )
        for part, rejects in zip(parts, standing_rejects(parts, at_once), strict=True)
    ]


def part_bytes(part: Part) -> int:
    """Count a part's bytes before compression, as its writer did."""
    rows = part.header.rows
    return sum(
        8 * stored.nnz + 8 * rows
        if stored.encoding == "csr"
        else 4 * stored.layer.n_features * rows
        for stored in part.header.layers
    )


def is_small(source: Selected, limits: PartLimits) -> bool:
    """Tell whether a part is less than half as large as it may be."""
    return 2 * len(source.rows) < limits.rows and 2 * source.n_bytes < limits.n_bytes


def pack(sources: Iterable[Selected], limits: PartLimits) -> Iterator[list[Selected]]:
    """Divide consecutive parts into groups that each fit one part, without changing a value.

    No part is split: one that exceeds the limits by itself forms its own group. Parts whose codes
    have different scales, or whose values are stored differently, are never in one group.
    """
    sources = [*sources]
    at_once = _reads_at_once(sources)
    codings = overlapped(_coding_of, [source.part for source in sources], at_once)
    coded = groupby(zip(codings, sources, strict=True), lambda each: each[0])
    for alike in ([source for _, source in run] for _, run in coded):
        group: list[Selected] = []
        sizes = np.zeros(0, np.int64)
        for source in alike:
            size = _sizes(source)
            most = np.full_like(size, NNZ)
            most[:4] = limits.rows, limits.n_bytes, REJECTS_PER_PART, ORIGIN_BYTES_PER_PART
            if group and (sizes + size > most).any():
                yield group
                group = []
            sizes = sizes + size if group else size
            group.append(source)
        yield group


def _reads_at_once(sources: Iterable[Selected]) -> int:
    return max((source.part.storage.reads_at_once for source in sources), default=1)


def _coding_of(part: Part) -> list[tuple[object, ...]]:
    """Give what the parts of a group must have in common: see `common_encoder`."""
    coding: list[tuple[object, ...]] = []
    for name, stored in sorted(part.layers.items()):
        scales = b""
        if stored.companding is not None:
            # From a part opened for this, so that the scales of all parts are not kept.
            scales = blake2b(Part(part.storage, part.entry).scales(name).tobytes()).digest()
        coding.append((stored.form, scales))
    return coding


def _sizes(source: Selected) -> npt.NDArray[np.int64]:
    """Give what is limited: rows, bytes, rejects, bytes of origins, and the nnz of each layer."""
    counts = len(source.rows), source.n_bytes, len(source.rejects)
    origins = len(msgspec.json.encode(source.part.header.all_origins()))
    nnz = (stored.nnz for _, stored in sorted(source.part.layers.items()))
    return np.array([*counts, origins, *nnz], np.int64)


def write_group(
    storage: Storage,
    layers: Sequence[Layer],
    group: Sequence[Selected],
    *,
    wrote: Callable[[int], None] = lambda n_elements: None,
) -> PartEntry:
    """Write what is kept of some parts into one new part, which no snapshot lists yet.

    Layers are written one by one, with about 100 MB in memory. Encodings are chosen anew; values
    stay stored as they are.

    Parameters
    ----------
    storage
        Of the store that gets the part.
    layers
        Of all parts.
    group
        Parts that agree in layers and settings, and in how their values are stored.
    wrote
        Called with the number of stored elements of each stretch that was appended.

    Raises
    ------
    StoreCorruptError
        A part is not what was written.
    StoreWriteError
        The disk refused.
    """
    # Opened anew, so that what reading caches is freed with the group.
    at_once = _reads_at_once(group)
    parts = [*overlapped(lambda source: Part(source.part.storage, source.entry), group, at_once)]
    first = parts[0].header
    with writing(storage):
        writer = PartWriter(
            storage,
            layers,
            _UNLIMITED,
            Values.parse(first.values),
            encoders={layer.name: common_encoder(parts, layer.name) for layer in layers},
        )
        try:
            for layer in layers:
                for part, source in zip(parts, group, strict=True):
                    for start, stop in runs(source.rows, part.offsets(layer.name), most=SHARD):
                        wrote(_copy(part, layer.name, start, stop, writer))
                writer.finish_layer(layer.name)

            def records(number: int) -> tuple[list[Row], list[Reject]]:
                part, source = parts[number], group[number]
                return (
                    _records(part, ROWS, Row, source.rows),
                    _records(part, REJECTED, Reject, source.rejects),
                )

            for rows, rejects in overlapped(records, range(len(parts)), at_once):
                writer.append_records(rows)
                writer.reject(rejects)
            origins = _origins(parts, group)
            provenance: dict[str, JSON] = origins[0].provenance if len(origins) == 1 else {}
            entry, _ = writer.finish(
                first.settings, provenance, origins=origins if len(origins) > 1 else ()
            )
        except BaseException:
            writer.discard()
            raise
    return entry


class RowCounter:
    """Reports how many rows are written, estimated from elements, since layers differ in size.

    Parameters
    ----------
    sources
        All that is to be written.
    progress
        Called with the number of rows and their total.
    """

    def __init__(
        self, sources: Iterable[Selected], progress: Callable[[int, int], None] | None
    ) -> None:
        self._progress = progress
        self._rows = self._elements = self._done = 0
        for source in sources:
            self._rows += len(source.rows)
            self._elements += sum(layer.nnz for layer in source.entry.layers)

    def add(self, n_elements: int) -> None:
        """Count stored elements that were written."""
        self._done += n_elements
        if self._progress is not None and self._elements:
            self._progress(self._rows * self._done // self._elements, self._rows)


def _copy(part: Part, layer: str, start: int, stop: int, target: PartWriter) -> int:
    try:
        csr = part.rows(layer, start, stop)
        target.append_layer(layer, csr)
    except StoreError:
        raise
    except ValueError as exc:  # the kernels check the indices' order as they go
        raise damaged(f"{layer} in {part.storage.name(part.key)}", str(exc)) from exc
    return csr.nnz


def _records(part: Part, table: str, record: Callable[..., T], lines: Lines) -> list[T]:
    columns = {name: part.column(table, name)[lines].tolist() for name in COLUMNS[table]}
    return [
        record(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


def _origins(parts: Sequence[Part], group: Sequence[Selected]) -> list[Origin]:
    """Say how the rows were made; neighbours that were made in the same way are joined."""
    origins: list[Origin] = []
    for part, source in zip(parts, group, strict=True):
        bounds = np.cumsum([origin.rows for origin in part.header.all_origins()])
        counts = np.diff(np.searchsorted(source.rows, bounds), prepend=0).tolist()
        for origin, rows in zip(part.header.all_origins(), counts, strict=True):
            if origins and origins[-1].provenance == origin.provenance:
                origins[-1] = Origin(rows=origins[-1].rows + rows, provenance=origin.provenance)
            elif rows or not len(source.rows):
                origins.append(Origin(rows=rows, provenance=origin.provenance))
    return origins or [Origin(rows=0, provenance={})]


def common_encoder(parts: Sequence[Part], layer: str) -> ValueEncoder:
    """Give an encoder that stores a layer as all of `parts` store it: `pack` has found them alike.

    Raises
    ------
    StoreCorruptError
        Scales are not what was written.
    """
    stored = [part.layers[layer].values for part in parts]
    first = stored[0]
    if first is None:
        return ValueEncoder()
    losses = [values.loss for values in stored if values and values.loss]
    loss = sum(losses, Loss()) if losses else None
    if isinstance(first, HalfValues):
        return Reencoder(RoundedEncoder(Values(kind="float16")), loss)
    if isinstance(first, RoundedValues):
        return Reencoder(RoundedEncoder(Values(kind="bits", bits=first.bits)), loss)
    scales = parts[0].scales(layer)
    if first.companding == "square":
        return Reencoder(SquareEncoder(scales), loss)
    largest = int(np.iinfo(first.dtype).max)
    return Reencoder(LinearEncoder(ChannelScales(scales=scales, largest=largest)), loss)
