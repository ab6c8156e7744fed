"""Appending to a store."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sparsefeat.errors import InputError, StoreError, StoreMismatchError, StoreWriteError
from sparsefeat.paths import checked_path
from sparsefeat.records import Batch, Layer, ReadFailure, Reject
from sparsefeat.store.bounds import AXES
from sparsefeat.store.folder import Hold, settle, write_error
from sparsefeat.store.header import differences, identity, plain_json
from sparsefeat.store.json_fields import JSON
from sparsefeat.store.known import Known, load_known
from sparsefeat.store.layout import is_layer_name, next_number
from sparsefeat.store.part_writer import PartLimits, PartWriter
from sparsefeat.store.tables import check_records
from sparsefeat.values import ChannelSteps, Loss, Values

T = TypeVar("T")


class StoreWriter:
    """Appends batches to a store, part by part; made by `StoreWriter.open`.

    As a context manager it commits on leaving, after an exception of the caller's
    (a KeyboardInterrupt too) as well. After a `StoreWriteError` of its own it commits nothing:
    the part in flight is lost, those committed are as they were.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> from sparsefeat.records import Batch, Layer, Row
    >>> row = Row(path="a.jpg", root="/photos", label="", bytes=9, mtime_ns=1, sha256="00",
    ...           width=2, height=2, format="JPEG")
    >>> layer = Layer(name="block5_pool", shape=(1, 1, 3))
    >>> folder = Path(tempfile.mkdtemp(), "features")
    >>> with StoreWriter.open(folder, layers=[layer], settings={}, provenance={}) as writer:
    ...     values = encode(np.array([[0, 5, 0]], np.float32))
    ...     writer.append(Batch(rows=(row,), layers={"block5_pool": values}))
    1
    >>> sorted(path.name for path in folder.glob("part*"))
    ['part-00000.zarr']
    """

    def __init__(
        self,
        folder: Path,
        hold: Hold,
        layers: Sequence[Layer],
        limits: PartLimits,
        settings: dict[str, JSON],
        provenance: dict[str, JSON],
        values: Values,
        steps: Mapping[str, ChannelSteps],
    ) -> None:
        self._folder, self._hold, self._layers, self._limits = folder, hold, layers, limits
        self._settings, self._provenance = settings, provenance
        self._values, self._steps = values, steps
        self.losses: dict[str, Loss] = {}
        """What the committed parts of this writer have lost of each layer, where they have."""
        self._part: PartWriter | None = None
        self._failed = self._closed = False
        self.known = self._load()
        # Its own thread, so that an interrupt of the main one never tears a row.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sparsefeat-store")

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        layers: Sequence[Layer],
        settings: Mapping[str, JSON],
        provenance: Mapping[str, JSON],
        rows_per_part: int = 1024,
        bytes_per_part: int = 1 << 30,
        values: str | Values = "float32",
        steps: Mapping[str, ChannelSteps] | None = None,
    ) -> Self:
        """Make a store, or continue one.

        Parameters
        ----------
        folder
            Made if missing.
        layers
            What every row has, in the order in which `Store.layers` will list them.
        settings
            What all parts of the store must agree on: model, preprocessing, ...
        provenance
            What else should be known of the parts to come: tools, command, ...
        rows_per_part
            Rows in a full part.
        bytes_per_part
            Bytes before compression after which a part is full, whatever its rows.
        values
            How exactly values are kept: ``float32`` (all bits), ``float16``, ``bfloat16``,
            ``bits:N`` or ``uint8``, as docs/values.md says. All parts must agree in it.
        steps
            What values of some layers may be whole numbers of, for each channel. Where they are,
            to the last bit, and `values` is ``float32``, the numbers are stored. A
            layer whose rows turn out not to fit in a part that has begun with numbers is stored as
            float32 from that row on.

        Raises
        ------
        StoreLockedError
            Another writer is at work.
        StoreMismatchError
            The committed parts have other layers, settings or values.
        StoreError
            The folder holds something else, or parts of a newer format.
        StoreCorruptError
            A committed part is damaged.
        StoreWriteError
            The folder can't be written.
        InputError
            An argument is unusable.
        """
        folder = checked_path(folder, "a store")
        values = Values.parse(values) if isinstance(values, str) else values
        _check_layers(layers)
        values.check_layers(layers)
        kept = plain_json(settings, what="settings"), plain_json(provenance, what="provenance")
        limits = PartLimits(rows=rows_per_part, n_bytes=bytes_per_part)
        try:
            hold = Hold(folder, make=True)
            try:
                return cls(folder, hold, tuple(layers), limits, *kept, values, steps or {})
            except BaseException:
                hold.release()
                raise
        except StoreError:
            raise
        except OSError as exc:
            raise write_error(folder, exc) from exc

    def append(self, batch: Batch) -> int:
        """Append a batch; full parts are committed on the way.

        A row whose picture (same path, size, time and digest) is in the store is left out, and so
        is a `ReadFailure` among the rejects: the next run finds its picture new.
        Nothing of `batch` is kept after the call: its memory may be used again.

        Returns
        -------
        How many rows were new.

        Raises
        ------
        InputError
            The batch's layers are not the store's, a record can't be written, or a value can't be
            kept in as few bits. The writer can go on.
        StoreWriteError
            The disk refused, or had before: the part in flight is lost.
        """
        self._check(batch)
        return self._run(lambda: self._append(batch))

    def commit(self) -> None:
        """Make a part of what was appended since the last one, rejects included.

        Raises
        ------
        StoreWriteError
            The disk refused, or had before: the part in flight is lost.
        """
        self._run(self._commit)

    def close(self) -> None:
        """Commit, and let others write; leaving the context does it.

        Where nothing was ever committed, the folders made for it are removed again.

        Raises
        ------
        StoreWriteError
            As `commit` does; the lock is released all the same.
        """
        try:
            if not self._failed:
                self.commit()
        finally:
            self._closed = True
            self._thread.shutdown()
            self._hold.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _load(self) -> Known:
        ours = identity(self._layers, self._settings, str(self._values))
        parts = settle(self._folder)
        for part in parts:
            different = differences(ours, part.header.identity())
            if different:
                raise StoreMismatchError(
                    f"{part.path} was made with other settings: {'; '.join(different)}: "
                    "use the same ones, or choose another folder"
                )
        return load_known(parts)

    def _check(self, batch: Batch) -> None:
        got = {name: (csr.n_rows, csr.n_columns) for name, csr in batch.layers.items()}
        expected = {layer.name: (len(batch.rows), layer.n_features) for layer in self._layers}
        if got != expected:
            raise InputError(
                f"the batch has layers of (rows, columns) {got}, expected {expected}: "
                "pass what the store was opened for"
            )
        check_records(batch.rows)
        check_records(_recorded(batch))
        self._values.check(batch)

    def _append(self, batch: Batch) -> int:
        if rejects := _recorded(batch):
            self._in_flight().reject(rejects)
            for reject in rejects:
                self.known.add_reject(reject)
            if self._in_flight().full:
                self._commit()
        fresh = []
        for number, row in enumerate(batch.rows):
            if not self.known.holds(row):
                self.known.add_row(row)
                fresh.append(number)
        # Numbers less their places are equal along a run of neighbours.
        for _, group in groupby(enumerate(fresh), lambda pair: pair[1] - pair[0]):
            numbers = [number for _, number in group]
            self._append_rows(batch, numbers[0], numbers[-1] + 1)
        return len(fresh)

    def _append_rows(self, batch: Batch, start: int, stop: int) -> None:
        while start < stop:
            part = self._in_flight()
            layers = {name: csr.rows(start, stop) for name, csr in batch.layers.items()}
            count = part.room(layers)
            if count:
                rows = {name: csr.rows(0, count) for name, csr in layers.items()}
                part.append(batch.rows[start : start + count], rows)
                start += count
            else:
                # Rows that fit now and then would end one small part after another.
                misfits = part.misfits(layers)
                steps = self._steps.items()
                self._steps = {name: one for name, one in steps if name not in misfits}
            if not count or part.full:
                self._commit()

    def _in_flight(self) -> PartWriter:
        if self._part is None:
            self._hold.check()
            self._part = PartWriter(
                self._folder,
                next_number(self._folder),
                self._layers,
                self._limits,
                self._values,
                self._steps,
            )
        return self._part

    def _commit(self) -> None:
        if self._part is not None:
            header = self._part.commit(self._settings, self._provenance)
            self._part = None
            for stored in header.layers:
                if stored.values is not None and stored.values.loss is not None:
                    before = self.losses.get(stored.layer.name, Loss())
                    self.losses[stored.layer.name] = before + stored.values.loss

    def _run(self, task: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError(f"the writer of {self._folder} is closed, expected an open one")
        try:
            return self._thread.submit(self._attempt, task).result()
        except StoreError:
            raise
        except OSError as exc:
            raise write_error(self._folder, exc) from exc

    def _attempt(self, task: Callable[[], T]) -> T:
        if self._failed:
            raise StoreWriteError(
                f"the writer of {self._folder} failed before, expected a sound one: open it again"
            )
        try:
            return task()
        except BaseException:
            self._failed = True
            if self._part is not None:
                self._part.discard()
            raise


def _recorded(batch: Batch) -> list[Reject]:
    return [each for each in batch.rejects if not isinstance(each, ReadFailure)]


def _check_layers(layers: Sequence[Layer]) -> None:
    names = [layer.name for layer in layers]
    if not names or len(set(names)) < len(names) or not all(map(is_layer_name, names)):
        raise InputError(
            f"got layers {names}, expected at least one, each once, of letters, digits, _, - "
            "and inner slashes: rename them"
        )
    for layer in layers:
        too_large = len(layer.shape) > AXES or layer.n_features >= 2**31
        if not layer.shape or min(layer.shape) < 1 or too_large:
            raise InputError(
                f"layer {layer.name} has shape {layer.shape}, expected 1 to {AXES} extents of at "
                "least 1 and fewer than 2**31 elements: leave it out"
            )
