"""Checking every byte of a store."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import (
    SourceError,
    StoreChangedError,
    StoreCorruptError,
    StoreError,
    StoreReadError,
)
from sparsefeat.images import Reason, read_original
from sparsefeat.storage import Storage, open_storage
from sparsefeat.store.dataset import Log, Snapshot, spans
from sparsefeat.store.format import (
    CHUNK,
    PARTS,
    SHARD,
    SNAPSHOTS,
    PartEntry,
    StoredLayer,
    differences,
    identity,
    layer_key,
    part_key,
    part_name,
    snapshot_number,
)
from sparsefeat.store.part import COLUMNS, INDEX, REJECTED, ROWS, Part, read_refusal, row_id
from sparsefeat.system import counted, one_line, overlapped, validate_paths
from sparsefeat.types import Reject, Row
from sparsefeat_kernels import Csr, csr_zeros_per_channel

_DAMAGE: Final = (StoreCorruptError, StoreChangedError)  # findings; `run` decides on others


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One problem that was found.

    Parameters
    ----------
    what
        A description, in one line.
    part
        The part's name; empty for the store as a whole.
    layer
        The layer's name; empty if it is not about a layer's data.
    rows
        First row of the part that is affected, and the one after the last; None for all.
    harmless
        Whether every row is undamaged nevertheless.
    """

    what: str
    part: str = ""
    layer: str = ""
    rows: tuple[int, int] | None = None
    harmless: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", one_line(self.what, most=700))

    def __str__(self) -> str:
        where = ", ".join(filter(None, [self.part, self.layer, self._row_range()]))
        return f"{where}: {self.what}" if where else self.what

    def _row_range(self) -> str:
        if self.rows is None:
            return ""
        first, last = self.rows[0], self.rows[1] - 1
        return f"row {first}" if first == last else f"rows {first} to {last}"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """The findings, and how much was checked.

    `findings` are about the store. `changes` are about images that are missing now, can't be read,
    or have other bytes than when they were stored; the store itself is undamaged. `images` is the
    number of images that were compared, `n_bytes` that of bytes read from the store.
    """

    findings: tuple[Finding, ...]
    changes: tuple[Finding, ...]
    snapshot: int
    parts: int
    rows: int
    files: int
    n_bytes: int
    images: int

    @property
    def ok(self) -> bool:
        """Whether no part of the store is damaged or missing."""
        return all(finding.harmless for finding in self.findings)


def verify(
    folder: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Read all of a store and report what isn't as it was written.

    Checksums of all snapshots and chunks; row starts, sorted and bounded column numbers; finite
    and non-zero values; zero counts; unique row ids; metadata.

    Parameters
    ----------
    folder
        The store.
    source
        The folder to use instead of the recorded root, or several if the store was made from
        several: each row's image is looked up there, and its size and SHA-256 are compared.
    progress
        Called with the number of parts done and their total.

    Returns
    -------
    VerifyReport
        Damage, and images that differ from `source`, are reported and never raised.

    Raises
    ------
    StoreNotFoundError
        There is no store to check.
    StoreReadError
        The system refused to read something, so that it can't be checked.
    StoreCorruptError
        The newest snapshot is damaged, so that it is unknown what the store holds.
    SourceError
        A `source` is not a folder, or vanishes meanwhile.
    StoreChangedError
        A part was deleted by `vacuum` meanwhile.

    Examples
    --------
    >>> verify("features/").ok  # doctest: +SKIP
    True
    """
    sources = validate_paths(source, "a folder of images")
    _check_folders(sources)
    storage = open_storage(folder)
    log = Log(storage)
    snapshot = log.require()
    findings = [*_snapshot_findings(log, snapshot), *_leftovers(storage, snapshot)]
    changes: list[Finding] = []
    rows = files = n_bytes = images = 0
    places: dict[str, str] = {}

    def look(entry: PartEntry) -> tuple[_PartCheck, list[Finding], bool]:
        check = _PartCheck(storage, entry, snapshot)
        return check, [*check.run()], storage.exists(check.key)

    looked = overlapped(look, snapshot.parts, storage.reads_at_once)
    for done, (entry, found) in enumerate(zip(snapshot.parts, looked, strict=True), start=1):
        check, of_part, there = found
        if not there and _is_replaced(log, entry, snapshot):
            raise StoreChangedError(
                f"{storage.name(check.key)} was deleted by vacuum meanwhile: run verify again"
            )
        findings += of_part
        for number, id in check.ids():
            if id in places:
                what = f"row id {id} is in {places[id]} already"
                findings.append(Finding(what=what, part=entry.name, rows=(number, number + 1)))
            places[id] = entry.name
        if sources and check.rows:
            changes += _check_source(entry.name, check, sources)
            images += entry.n_rows
            _check_folders(sources)
        rows += entry.n_rows
        files += len(check.files)
        n_bytes += check.n_bytes
        if progress is not None:
            progress(done, len(snapshot.parts))
    return VerifyReport(
        findings=tuple(findings),
        changes=tuple(changes),
        snapshot=snapshot.number,
        parts=len(snapshot.parts),
        rows=rows,
        files=files,
        n_bytes=n_bytes,
        images=images,
    )


def _check_folders(sources: Sequence[Path]) -> None:
    for each in sources:
        if not each.is_dir():
            raise SourceError(f"{each} is not a folder: give the folder of the images")


def _snapshot_findings(log: Log, newest: Snapshot) -> Iterator[Finding]:
    """Check the snapshots before the newest one; the store loses no row if one is damaged."""
    checksums: dict[int, str] = {}
    numbers = [number for number in log.numbers() if number < newest.number]
    for number in numbers:
        try:
            found = log.document(number)
        except StoreReadError:
            raise
        except StoreError as exc:
            yield Finding(what=str(exc))
            continue
        if found is None:  # deleted by `vacuum` meanwhile
            continue
        document, checksums[number] = found
        if document.base is None:
            continue
        base, expected = document.base
        if base not in numbers:
            what = (
                f"snapshot {number} can't be opened, since it refers to snapshot {base}, which was "
                "deleted; sparsefeat vacuum deletes it, too, in time"
            )
            yield Finding(what=what, harmless=True)
        elif checksums.get(base, expected) != expected:
            yield Finding(what=f"snapshot {number} refers to another snapshot {base} than there is")


def _leftovers(storage: Storage, snapshot: Snapshot) -> Iterator[Finding]:
    """Find files that belong to no part and to no snapshot."""
    unlisted = 0
    for prefix in (PARTS, SNAPSHOTS):
        try:
            names = storage.names(prefix)
        except OSError as exc:
            if refused := read_refusal(storage.name(prefix), exc):
                raise refused from exc
            names = []  # each missing part is reported
        for name in names:
            part = part_name(name) if prefix == PARTS else None
            if part is not None:
                # Some services keep the names of empty folders.
                unlisted += part not in snapshot.by_name and storage.exists(part_key(part))
            elif not name.startswith(".") and (prefix == PARTS or snapshot_number(name) is None):
                yield Finding(what=f"{prefix}/{name} belongs to nothing", harmless=True)
    if unlisted:
        what = (
            f"{counted(unlisted, 'part')} that this snapshot doesn't list: of older "
            "snapshots, of writers at work or killed; sparsefeat vacuum deletes them in time"
        )
        yield Finding(what=what, harmless=True)


def _is_replaced(log: Log, entry: PartEntry, snapshot: Snapshot) -> bool:
    if log.numbers()[-1:] == [snapshot.number]:
        return False
    newest = log.newest()
    return newest is not None and entry.name not in newest.by_name


class _PartCheck:
    """Checks everything in one part; `rows` is its table of rows, if that can be read."""

    def __init__(self, storage: Storage, entry: PartEntry, snapshot: Snapshot) -> None:
        self._storage, self._entry, self._snapshot = storage, entry, snapshot
        self.key = part_key(entry.name)
        self.files: list[str] = []
        self.n_bytes = 0
        self.rows: dict[str, Any] = {}
        self._kept: npt.NDArray[np.int64] | None = None

    def run(self) -> Iterator[Finding]:
        """Yield what is wrong."""
        try:
            yield from self._list_files()
            part = Part(self._storage, self._entry, copies=False)
            self._kept = part.kept
            yield from self._identity(part)
            yield from self._tables(part)
            for stored in part.layers.values():
                yield from _check_layer(part, stored)
            yield from self._copies(part)
            yield from self._unknown_files(part)
        except StoreReadError:
            raise
        except StoreError as exc:
            yield self._finding(str(exc))
        except Exception as exc:
            if refused := read_refusal(self._storage.name(self.key), exc):
                raise refused from exc
            # Unforeseen damage is still damage, and other parts may be undamaged.
            yield self._finding(f"can't be checked any further: {type(exc).__name__}: {exc}")

    def ids(self) -> Iterator[tuple[int, str]]:
        """Give number and id of each row that is not excluded."""
        ids = self.rows.get(INDEX, [])
        numbers = range(len(ids)) if self._kept is None or not ids else self._kept.tolist()
        return ((number, ids[number]) for number in numbers)

    def _finding(self, what: str, *, harmless: bool = False) -> Finding:
        return Finding(what=what, part=self._entry.name, harmless=harmless)

    def _list_files(self) -> Iterator[Finding]:
        """List the files, and find links, pipes and devices, which lead elsewhere."""
        for inside, size in self._storage.list_files(self.key):
            if size is None:
                yield self._finding(f"{inside} is a link, a pipe or a device, expected a file")
            else:
                self.files.append(inside)
                self.n_bytes += size

    def _identity(self, part: Part) -> Iterator[Finding]:
        header = part.header
        got = identity([s.layer for s in header.layers], header.settings, header.values)
        if different := differences(got, self._snapshot.identity()):
            yield self._finding(f"was made with other settings: {'; '.join(different)}")
        if self.n_bytes < self._entry.n_bytes:
            what = f"has {self.n_bytes:,} bytes, the snapshot says {self._entry.n_bytes:,}"
            yield self._finding(what)

    def _tables(self, part: Part) -> Iterator[Finding]:
        for name, record in ((ROWS, Row), (REJECTED, Reject)):
            try:
                table = {each: part.column(name, each).tolist() for each in (INDEX, *COLUMNS[name])}
            except _DAMAGE as exc:
                yield self._finding(str(exc))
                continue
            if record is Row:
                self.rows = table
            columns = [table[column] for column in COLUMNS[name]]
            for number, fields in enumerate(zip(*columns, strict=True)):
                image = record(**dict(zip(COLUMNS[name], fields, strict=True)))
                if row_id(image) != table[INDEX][number]:
                    yield self._finding(f"{name} row {number} has not the id of its image")
        try:
            part.extra()
        except _DAMAGE as exc:
            yield self._finding(str(exc))
        try:
            part.text(f"var/{INDEX}", (0,))
        except _DAMAGE as exc:
            yield self._finding(str(exc))

    def _copies(self, part: Part) -> Iterator[Finding]:
        """Compare the copies in the header with the ends of the files."""
        files = {*self.files}
        for name, copy in part.header.copies.items():
            if name not in files:
                yield self._finding(f"{name} is not there, but repeated in the header")
                continue
            with self._storage.open(f"{self.key}/{name}") as file:
                if file.read(max(0, file.size - len(copy)), len(copy)) != copy:
                    yield self._finding(f"{name} is not what the header repeats of it")

    def _unknown_files(self, part: Part) -> Iterator[Finding]:
        """Find files that no array knows of."""
        known = {"zarr.json", *part.files(most=len(self.files) + 1)}
        for file in sorted(set(self.files) - known):
            yield self._finding(f"{file} belongs to nothing", harmless=True)


def _check_layer(part: Part, stored: StoredLayer) -> Iterator[Finding]:
    """Read all of a layer, and yield what is wrong with it."""
    name = stored.name
    try:
        indptr, expected = part.indptr(name), part.zeros_per_channel(name)
        if stored.companding is not None:
            part.scales(name)
    except _DAMAGE as exc:
        yield Finding(what=str(exc), part=part.entry.name, layer=name)
        return
    zeros = np.zeros_like(expected)
    fine = True
    offsets = part.offsets(name)
    for start, stop in spans(np.arange(part.header.rows), offsets, gap=CHUNK, most=SHARD):
        try:
            csr = part.rows(name, start, stop)
            zeros += csr_zeros_per_channel(csr, stored.layer.n_channels)
        except StoreReadError:
            raise
        except (StoreError, ValueError) as exc:
            fine = False
            yield from _locate(part, stored, start, stop, exc)
            continue
        for what, rows in _suspicious(csr, np.diff(indptr[start : stop + 1])):
            fine = False
            yield _layer_finding(part, stored, what, rows + start)
    if fine and not np.array_equal(zeros, expected):
        channels = np.flatnonzero(zeros != expected)
        what = f"the stored zero counts of channels {_few(channels)} are not those of the data"
        yield Finding(what=what, part=part.entry.name, layer=name)


def _suspicious(
    csr: Csr, nnz: npt.NDArray[np.int64]
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Yield the kinds of invalid values, and the rows that have them."""
    other = np.flatnonzero(np.diff(csr.indptr) != nnz)
    if len(other):
        yield "the stored zero counts are not those of the data", other
    for what, suspicious in (
        ("values that are not finite", ~np.isfinite(csr.data)),
        ("stored zeros", csr.data == 0),
    ):
        places = np.flatnonzero(suspicious)
        if len(places):
            yield what, np.unique(np.searchsorted(csr.indptr, places, side="right") - 1)


def _locate(
    part: Part, stored: StoredLayer, start: int, stop: int, exc: Exception
) -> Iterator[Finding]:
    """Yield which rows of a stretch can't be read, chunk by chunk."""
    name, key = stored.name, f"obsm/{layer_key(stored.name)}"
    arrays = [key] if stored.encoding == "dense" else [f"{key}/indices", f"{key}/data"]
    offsets = part.offsets(name)
    width = stored.layer.n_features if stored.encoding == "dense" else 1
    located = False
    for array in arrays:
        # The first axis of a CSR's arrays counts elements, that of a dense array counts rows.
        first, last = int(offsets[start]) // width, int(offsets[stop]) // width
        step = max(1, CHUNK // width)
        for begin in range(first // step * step, last, step):
            lower, upper = max(begin, first), min(begin + step, last)
            try:
                part.read(array, lower, upper)
            except _DAMAGE as damage:
                located = True
                row = int(np.searchsorted(offsets, lower * width, side="right")) - 1
                end = int(np.searchsorted(offsets, upper * width, side="left"))
                yield _layer_finding(part, stored, str(damage), np.array([row, end - 1]))
    if not located:
        yield _layer_finding(part, stored, str(exc), np.array([start, stop - 1]))


def _layer_finding(
    part: Part, stored: StoredLayer, what: str, rows: npt.NDArray[np.int64]
) -> Finding:
    reach = (int(rows[0]), int(rows[-1]) + 1)
    return Finding(what=what, part=part.entry.name, layer=stored.name, rows=reach)


def _few(numbers: npt.NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, numbers[:5].tolist()))
    return f"{shown}, ..." if len(numbers) > 5 else shown


def _check_source(part: str, check: _PartCheck, sources: Sequence[Path]) -> Iterator[Finding]:
    """Yield which images of a part are in none of some folders, or differ there."""
    for number, _ in check.ids():
        path, size, sha256 = (check.rows[name][number] for name in ("path", "bytes", "sha256"))
        wrong: list[str] = []
        for source in sources:
            found = read_original(path, "", sha256, source, size=size)
            if isinstance(found, bytes):
                break
            wrong.append(found)
        else:
            # That an image differs says more than that the other folders don't have it.
            what = next((each for each in wrong if each != Reason.MISSING), "")
            where = sources[wrong.index(what) if what else 0]
            said = f"{path} in {where}: {what}" if what else f"{path} is missing in {where}"
            yield Finding(what=said, part=part, rows=(number, number + 1))
