"""Making few full parts of many small ones."""

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
    write_error,
)
from sparsefeat.store.format import (
    CHUNK_ELEMENTS,
    JSON,
    JSON_BYTES,
    NNZ,
    SHARD,
    AnyValues,
    CodedValues,
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

ORIGIN_BYTES_PER_PART: Final = JSON_BYTES // 4  # of the header, which has more besides
# Who made a group of parts has looked at its size.
_UNLIMITED: Final = PartLimits(rows=CHUNK_ELEMENTS - 1, n_bytes=MAX_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compaction:
    """What a compaction did, or would do.

    Parameters
    ----------
    parts_before, parts_after
        Parts that the store lists.
    groups
        The names of the parts that were written into one new part each.
    rows
        Rows that the new parts hold.
    resolved
        Rejects that were left out, since their image gave a row or a later reject.
    bytes_before
        Size of the parts that were replaced: `vacuum` deletes them.
    bytes_after
        Size of the new ones; None if none was written, but would be.
    lost
        Groups that were left as they are, since another process changed their parts meanwhile.
    stopped
        It was told to stop, and there is more to do.
    vacuumed
        What was deleted at its end; None unless `vacuum` was asked for.
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
    """Write small neighbouring parts of a store into full ones, which take their places.

    Rows, their order and their values stay as they are. Left out are rows that were removed or
    replaced, and rejects that a reader leaves out. Each new part is committed by itself. Others
    may read, append and compact meanwhile; an open `Store` keeps the parts that it has, until
    `vacuum` deletes them.

    Parameters
    ----------
    folder
        The store.
    everything
        Write full parts anew, too: encodings and compression are chosen again.
    vacuum
        Delete at once what is no longer part of the store: only if nobody else reads or writes it.
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
    StoreCorruptError
        A part is damaged; those before it were compacted.
    StoreReadError, StoreWriteError
        The system refused. All rows are there as before.
    InputError
        A part is to be of no rows or bytes.

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
    """Put a part in the place of those that it was made of, if they are still listed so."""
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
    """Group neighbours that are worth writing anew."""

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
    """A part, and what of it is written again: row numbers, and lines of its rejects."""

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
        """Bytes of the kept rows before compression, about."""
        return part_bytes(self.part) * len(self.rows) // max(1, self.entry.rows)


def read_sources(parts: Sequence[Part]) -> list[Selected]:
    """Find out what of each part is kept, all of one storage."""
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
    """Cut parts in a row into groups that fit one part each, without a value being changed.

    No part is split: one that is over the limits by itself has a group of its own. Parts whose
    values are codes with other scales, or kept otherwise, are never in one group.
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
    """Give what parts must agree in for `common_encoder` to find one."""
    coding: list[tuple[object, ...]] = []
    for name, stored in sorted(part.layers.items()):
        scales = b""
        if stored.companding is not None:
            # Of a part opened for this, so that not the scales of all are kept.
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
    """Write what is kept of some parts into one new part, which nobody lists yet.

    Layer by layer, some 100 MB of it in memory at a time. Encodings are chosen anew; values
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
    # Opened anew: what reading keeps of them goes with the group.
    at_once = _reads_at_once(group)
    parts = [*overlapped(lambda source: Part(source.part.storage, source.entry), group, at_once)]
    first = parts[0].header
    try:
        writer = PartWriter(
            storage,
            layers,
            _UNLIMITED,
            Values.parse(first.values),
            encoders={layer.name: _encoder(parts, layer.name) for layer in layers},
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
    except StoreError:
        raise
    except OSError as exc:
        raise write_error(storage, exc) from exc
    return entry


class RowCounter:
    """Tells how many rows are written, reckoned from their elements: layers differ in size.

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


def _encoder(parts: Sequence[Part], layer: str) -> ValueEncoder:
    encoder = common_encoder(parts, layer)
    assert encoder is not None  # `pack` has looked
    return encoder


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
    """Say how the rows were made, neighbours that were made alike together."""
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


def common_encoder(parts: Sequence[Part], layer: str) -> ValueEncoder | None:
    """Give the encoder by which one part can hold a layer of all of these; None if there is none.

    It stores values as they do, if they agree in that and in the scales of codes; as float32
    where they don't, but all are linear codes or float32 to the last bit. Parts with other scales
    for ``uint8`` can't lie in one: their values would have to be rounded again.

    Raises
    ------
    StoreCorruptError
        Scales are not what was written.
    """
    stored = [part.layers[layer] for part in parts]
    first = stored[0].values
    lossless = all(each.values is None or each.companding == "linear" for each in stored)
    kinds = {_kind(each.values) for each in stored}
    if first is None or len(kinds) > 1:
        return ValueEncoder() if lossless else None
    losses = [each.values.loss for each in stored if each.values and each.values.loss]
    loss = sum(losses, Loss()) if losses else None
    if isinstance(first, HalfValues):
        return Reencoder(RoundedEncoder(Values(kind="float16")), loss)
    if isinstance(first, RoundedValues):
        return Reencoder(RoundedEncoder(Values(kind="bits", bits=first.bits)), loss)
    scales = [part.scales(layer) for part in parts]
    if not all(np.array_equal(one, scales[0]) for one in scales):
        return ValueEncoder() if lossless else None
    if first.companding == "square":
        return Reencoder(SquareEncoder(scales[0]), loss)
    largest = max(int(np.iinfo(each.dtype).max) for each in stored)
    return Reencoder(LinearEncoder(ChannelScales(scales=scales[0], largest=largest)), loss)


def _kind(values: AnyValues | None) -> tuple[object, ...]:
    if isinstance(values, RoundedValues):
        return "bits", values.bits
    if isinstance(values, CodedValues):
        return "codes", values.companding
    return (None if values is None else "float16",)
