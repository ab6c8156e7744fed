"""Appending to a store."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from sparsefeat.errors import (
    InputError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from sparsefeat.storage import Storage, is_url, open_storage
from sparsefeat.store.dataset.index import Index, row_files, row_ids
from sparsefeat.store.dataset.log import Log, check_alike, claim, writing
from sparsefeat.store.dataset.new_parts import (
    NewPart,
    leave_out_repeated,
    leave_out_replaced,
    to_commit,
    without_replaced,
)
from sparsefeat.store.dataset.snapshot import Change, Snapshot
from sparsefeat.store.format import (
    JSON,
    PARTS,
    Header,
    Loss,
    PartEntry,
    Values,
    check_layers,
    plain_json,
)
from sparsefeat.store.part import (
    LayerRows,
    Part,
    PartLimits,
    PartWriter,
    check_records,
    cut_rows,
    n_rows,
    row_id,
)
from sparsefeat.system import in_threads, overlapped
from sparsefeat.types import Batch, ChannelScales, Layer, Row, split_failures
from sparsefeat_kernels import Csr, CsrBuffers, encode

T = TypeVar("T")


class StoreWriter:
    """Appends batches to a store, part by part; made by `StoreWriter.open`.

    Any number of writers, in processes or on machines, may append to a store at the same time. A
    row that another writer has committed meanwhile is left out. So is a row of a file for which
    another writer has committed a row meanwhile, unless `replace` is set.

    As a context manager it commits on leaving, also after an exception of the caller (even a
    KeyboardInterrupt). After its own `StoreWriteError` it commits nothing: the unfinished part is
    lost, and committed parts stay as they were.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sparsefeat.types import Batch, Layer, Row
    >>> row = Row(path="a.jpg", root="/photos", label="", bytes=9, mtime_ns=1, sha256="00",
    ...           width=2, height=2, format="JPEG")
    >>> layer = Layer(name="block5_pool", shape=(1, 1, 3))
    >>> folder = Path(tempfile.mkdtemp(), "features")
    >>> with StoreWriter.open(folder, layers=[layer], settings={}, provenance={}) as writer:
    ...     values = np.array([[0, 5, 0]], np.float32)
    ...     writer.append(Batch(rows=(row,), layers={"block5_pool": values}))
    1
    >>> sorted(path.name for path in (folder / "snapshots").iterdir())
    ['00000001.json']
    """

    def __init__(
        self,
        storage: Storage,
        layers: Sequence[Layer],
        limits: PartLimits,
        settings: dict[str, JSON],
        provenance: dict[str, JSON],
        values: Values,
        scales: Mapping[str, ChannelScales],
        *,
        replace: bool,
        operation: str,
        detached: bool,
        opening: Callable[[int, int], None] | None,
    ) -> None:
        self._storage, self._layers, self._limits = storage, layers, limits
        self._settings, self._provenance = settings, provenance
        self._values, self._scales = values, scales
        self._operation = operation
        self.losses: dict[str, Loss] = {}
        """The loss of each layer that was rounded, in the committed parts of this writer."""
        self.duplicates = 0
        """Appended rows that were left out: others had committed their images by then, or a later
        row replaced them."""
        self.index = Index(locate=replace)
        """The images that gave a row or a reject: extended by what others commit."""
        self._replace, self._detached = replace, detached
        self.parts: list[PartEntry] = []
        """The parts that a detached writer has written, for `adopt` of another one."""
        self._log = Log(storage)
        self._made = [] if detached else claim(storage)
        if detached and not is_url(storage.name("")) and not storage.is_folder(PARTS):
            raise StoreNotFoundError(
                f"the store {storage.name('')} is not there on this machine: mount its folder "
                "under the same path on all of them"
            )
        self._folder = storage.identity()
        self._latest = None if detached else self._log.newest()
        self._loaded: set[str] = set()  # names of the parts that are in the index
        if self._latest is not None:
            self._check_alike(self._latest)
            self._layers = self._latest.layers  # in its order
            for _ in self._load(self._latest, opening):
                pass
        self._part: PartWriter | None = None
        self._buffers = {layer.name: CsrBuffers() for layer in layers}
        self._failed = self._closed = False
        # Its own thread, so that an interrupt of the main one never tears a row.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sparsefeat-store")

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        layers: Sequence[Layer],
        settings: Mapping[str, JSON],
        provenance: Mapping[str, JSON],
        rows_per_part: int = 1024,
        bytes_per_part: int = 1 << 30,
        values: str | Values = "float32",
        scales: Mapping[str, ChannelScales] | None = None,
        replace: bool = False,
        operation: str = "extract",
        detached: bool = False,
        opening: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Make a store, or continue one.

        Parameters
        ----------
        folder
            Made if missing.
        layers
            The layers of every row, in the order in which `Store.layers` of a new store lists them.
        settings
            What all parts of the store must agree on: model, preprocessing, ...
        provenance
            What else to record about the new parts: tools, command, ...
        rows_per_part
            Rows in a full part.
        bytes_per_part
            Bytes before compression after which a part is full, whatever its rows.
        values
            How exactly values are stored: ``float32`` (all bits), ``float16``, ``bfloat16``,
            ``bits:N`` or ``uint8``, as docs/values.md says. All parts must have the same choice.
        scales
            For some layers, a scale for each channel, of which values may be whole multiples. If
            they are, to the last bit, and `values` is ``float32``, the multiples are stored. If a
            later row of the part does not fit, the layer is stored as float32 from that row on.
        replace
            Let a row replace those of the same file (root and path) that are in the store: they are
            excluded once it is committed.
        operation
            The operation that the snapshots record.
        detached
            Write parts without committing them: `parts` lists them, and `adopt` of another writer,
            in any process, commits them. Layers must be in the order of the store's.
        opening
            Called with the number of parts that are read, and their total, while an existing store
            is opened; an exception that it raises stops this.

        Raises
        ------
        StoreMismatchError
            The store has other layers, settings or values.
        StoreError
            The folder holds something else, or a store of a newer format.
        StoreCorruptError
            The store is damaged.
        StoreWriteError
            The folder can't be written.
        InputError
            An argument is invalid.
        """
        values = Values.parse(values) if isinstance(values, str) else values
        check_layers(layers)
        values.check_layers(layers)
        kept = plain_json(settings, what="settings"), plain_json(provenance, what="provenance")
        limits = PartLimits(rows=rows_per_part, n_bytes=bytes_per_part)
        storage = open_storage(folder)
        with writing(storage):
            return cls(
                storage,
                tuple(layers),
                limits,
                *kept,
                values,
                scales or {},
                replace=replace,
                operation=operation,
                detached=detached,
                opening=opening,
            )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What every row has, in the order of the store."""
        return tuple(self._layers)

    def append(self, batch: Batch[LayerRows]) -> int:
        """Append a batch; full parts are committed on the way.

        A row whose image (same path, size, time and digest) is in the store is left out, and so
        is a `ReadFailure` among the rejects: the next run finds its image new.
        Nothing of `batch` is kept after the call: its memory may be used again.

        Returns
        -------
        How many rows were new.

        Raises
        ------
        InputError
            The batch's layers are not the store's, a record can't be written, or a value can't be
            stored in so few bits. The writer stays usable.
        StoreMismatchError
            Another writer has made the store meanwhile, with other settings.
        StoreWriteError
            The disk refused, now or before: the unfinished part is lost.
        """
        batch = self._checked(batch)
        return self._run(lambda: self._append(batch))

    def adopt(self, parts: Sequence[PartEntry]) -> int:
        """Commit parts that detached writers of the same store have written, all at once.

        Rows that the store holds already are left out, as by `append`.

        Parameters
        ----------
        parts
            The `parts` of those writers.

        Returns
        -------
        How many rows were new.

        Raises
        ------
        StoreMismatchError, StoreWriteError
            As `commit` does. After an error the parts may or may not be committed.
        StoreCorruptError
            A part isn't what was written.
        """
        return self._run(lambda: self._adopt(parts))

    def commit(self) -> None:
        """Make a part of what was appended since the last one, rejects included.

        Raises
        ------
        StoreMismatchError
            Another writer has made the store meanwhile, with other settings.
        StoreWriteError
            The disk refused, now or before: the unfinished part is lost.
        """
        self._run(self._commit)

    def close(self) -> None:
        """Commit, as leaving the context does.

        If nothing was ever committed, the folders that were made are removed again.

        Raises
        ------
        StoreWriteError
            As `commit` does.
        """
        try:
            if not self._failed:
                self.commit()
        finally:
            self._closed = True
            self._thread.shutdown()
            if self._latest is None:
                self._storage.unmake(self._made)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _check_alike(self, snapshot: Snapshot) -> None:
        check_alike(self._storage, snapshot, self._layers, self._settings, str(self._values))

    def _load(
        self, snapshot: Snapshot, opening: Callable[[int, int], None] | None = None
    ) -> Iterator[Part]:
        """Add to the index what others have committed; give each part once it is added."""
        entries = [entry for entry in snapshot.parts if entry.name not in self._loaded]

        def told() -> Iterator[PartEntry]:
            for number, entry in enumerate(entries):
                if opening is not None:
                    opening(number, len(entries))
                yield entry

        def load(entry: PartEntry) -> Part:
            part = Part(self._storage, entry)
            self.index.load(part)
            return part

        yield from overlapped(load, told(), self._storage.reads_at_once)
        self._loaded.update(entry.name for entry in entries)

    def _checked(self, batch: Batch[LayerRows]) -> Batch[LayerRows]:
        got = {
            name: (n_rows(rows), rows.n_columns if isinstance(rows, Csr) else rows.shape[-1])
            for name, rows in batch.layers.items()
        }
        expected = {layer.name: (len(batch.rows), layer.n_features) for layer in self._layers}
        if got != expected:
            raise InputError(
                f"the batch has layers of (rows, columns) {got}, expected {expected}: "
                "pass what the store was opened for"
            )
        check_records(batch.rows)
        check_records(split_failures(batch.rejects)[0])
        if not self._values.lossless:
            layers = {
                name: rows if isinstance(rows, Csr) else encode(rows, out=self._buffers[name])
                for name, rows in batch.layers.items()
            }
            self._values.check(batch.rows, layers)
            return Batch(rows=batch.rows, layers=layers, rejects=batch.rejects)
        return batch

    def _append(self, batch: Batch[LayerRows]) -> int:
        if rejects := split_failures(batch.rejects)[0]:
            self._in_flight().reject(rejects)
            self.index.add_rejects(rejects)
            if self._in_flight().full:
                self._commit()
        added = start = 0
        while start < len(batch.rows):
            stop = self._end_of_new(batch.rows, start)
            if stop == start:
                start += 1
                continue
            # Fewer if a part is full: what others have committed by then may hold the rest.
            count = self._append_rows(batch, start, stop)
            added += count
            start += count
        return added

    def _end_of_new(self, rows: Sequence[Row], start: int) -> int:
        """Find the end of a run of rows that are neither in the store nor repeated in the run."""
        seen: set[str] = set()
        for number in range(start, len(rows)):
            row = rows[number]
            if self.index.holds(row) or (id := row_id(row)) in seen:
                return number
            seen.add(id)
        return len(rows)

    def _append_rows(self, batch: Batch[LayerRows], start: int, stop: int) -> int:
        """Append rows as far as the part has room for them, and commit it when it is full."""
        part = self._in_flight()
        layers = self._prepared(part, batch.layers, start, stop)
        count = part.room(layers)
        if count:
            rows = batch.rows[start : start + count]
            part.append(rows, {name: cut_rows(some, 0, count) for name, some in layers.items()})
            self.index.add_rows(rows)
        else:
            # If only some rows fit, one small part after another would be committed.
            misfits = part.misfits(layers)
            scales = self._scales.items()
            self._scales = {name: one for name, one in scales if name not in misfits}
        if not count or part.full:
            self._commit()
        return count

    def _prepared(
        self, part: PartWriter, layers: Mapping[str, LayerRows], start: int, stop: int
    ) -> dict[str, LayerRows]:
        def prepare(name: str) -> LayerRows:
            return part.prepare(name, cut_rows(layers[name], start, stop), self._buffers[name])

        return dict(zip(layers, in_threads(prepare, layers), strict=True))

    def _in_flight(self) -> PartWriter:
        if self._part is None:
            if self._latest is None and not self._detached:
                self._claim_again()
            self._check_folder()
            self._part = PartWriter(
                self._storage, self._layers, self._limits, self._values, self._scales
            )
        return self._part

    def _claim_again(self) -> None:
        """Make the folders again that another writer with nothing to commit has removed."""
        device, _ = self._folder
        if made := claim(self._storage):
            self._folder = self._storage.identity()
            if self._folder[0] != device:  # it was on a drive that was disconnected
                self._storage.unmake(made)
                raise FileNotFoundError("it was replaced by another folder")
            self._made = made

    def _check_folder(self) -> None:
        """Check that no other folder has replaced the store's, as after a drive was unmounted."""
        if self._storage.identity() != self._folder:
            raise FileNotFoundError("it was replaced by another folder")

    def _commit(self) -> None:
        part = self._part
        if part is None:
            return
        entry, header = part.finish(self._settings, self._provenance)
        self._check_folder()
        # After an error nothing of it is removed: the commit may have been made.
        self._part = None
        if self._detached:
            self.parts.append(entry)
        else:
            new = NewPart.of(entry, part.rows)
            self.duplicates += self._publish([new], deleted_if_needless=[entry.name])
            if not self._replace:  # otherwise its rows, too, may be replaced by later ones
                self._loaded.add(entry.name)
        self._add_losses(header)

    def _adopt(self, entries: Sequence[PartEntry]) -> int:
        self._commit()
        if self._latest is None:
            self._claim_again()
            if self._log.numbers():
                self._first_of_another()
        if self._latest is not None:  # but those that were committed before
            entries = [each for each in entries if each.name not in self._latest.by_name]
        if not entries:
            return 0
        self._check_folder()

        def read(entry: PartEntry) -> tuple[Part, NewPart]:
            part = Part(self._storage, entry)
            new = NewPart.read(part)
            new.left_out.update(self.index.held(part))
            return part, new

        read_parts = [*overlapped(read, entries, self._storage.reads_at_once)]
        left_out = self._publish([new for _, new in read_parts])
        if not self._replace:  # as for parts of our own
            for part, _ in read_parts:
                self.index.load(part)
                self._loaded.add(part.entry.name)
        for part, _ in read_parts:
            self._add_losses(part.header)
        return sum(entry.rows for entry in entries) - left_out

    def _add_losses(self, header: Header) -> None:
        for stored in header.layers:
            if stored.values is not None and stored.values.loss is not None:
                before = self.losses.get(stored.name, Loss())
                self.losses[stored.name] = before + stored.values.loss

    def _publish(self, parts: Sequence[NewPart], *, deleted_if_needless: Sequence[str] = ()) -> int:
        """Commit parts after those of the newest snapshot; count the rows left out."""
        leave_out_repeated(parts)
        if self._replace:
            leave_out_replaced(parts)
        if self._latest is None:
            ours = to_commit(parts)
            change = Change(operation=self._operation, parts=ours)
            self._latest = (
                self._log.create(self._settings, self._layers, str(self._values), change)
                or self._first_of_another()
            )
            if any(each.name in self._latest.by_name for each in ours):
                return sum(len(part.left_out) for part in parts)
        self._latest = self._log.commit(
            self._latest,
            lambda latest: self._appended(latest, parts),
            parts=deleted_if_needless,
        )
        return sum(len(part.left_out) for part in parts)

    def _first_of_another(self) -> Snapshot:
        first = self._latest = self._log.require()
        self._check_alike(first)
        if first.layers != tuple(self._layers):
            raise StoreMismatchError(
                f"{self._storage.name('')} was made meanwhile by another writer, with the same "
                "layers in another order: run the same command again"
            )
        return first

    def _appended(self, latest: Snapshot, new: Sequence[NewPart]) -> Change | None:
        """Put parts after those of a snapshot, without rows that it holds already.

        Rows of files for which others have committed a row meanwhile are left out, too, unless ours
        replace them.
        """
        # What lies in parts that were in the index already was not appended here.
        others = [*self._load(latest)]
        ids = {id for other in others for _, id in row_ids(other)}
        files: set[str] = set()
        if ids and not self._replace:
            files = {file for other in others for file in row_files(other)}
        for part in new:
            part.leave_out(ids, files)
        ours = to_commit(new)
        if not ours:
            return None
        parts: Sequence[PartEntry] = latest.parts
        if self._replace:
            parts = without_replaced(parts, new, self.index)
        return Change(operation=self._operation, parts=[*parts, *ours])

    def _run(self, task: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError(f"the writer of {self._storage.name('')} is closed: open another one")
        with writing(self._storage):
            return self._thread.submit(self._attempt, task).result()

    def _attempt(self, task: Callable[[], T]) -> T:
        if self._failed:
            raise StoreWriteError(
                f"the writer of {self._storage.name('')} failed before: open another one"
            )
        try:
            return task()
        except BaseException:
            self._failed = True
            if self._part is not None:
                self._part.discard()
            raise
