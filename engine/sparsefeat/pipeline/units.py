"""Extraction in units, the images of one part each, that any process can work on."""

import pickle
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np

from sparsefeat.cluster import Finished, Workers
from sparsefeat.errors import ClusterError, StoreMismatchError
from sparsefeat.images import Source
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.pipeline.options import ExtractorOptions
from sparsefeat.pipeline.result import ExtractionResult
from sparsefeat.store import PartEntry, StoreWriter
from sparsefeat.types import Batch, Reject, Skipped

SPLIT: Final = 8  # units that a unit which has killed its worker is split into
CRASHES: Final = 3  # deaths of a worker on a single image, before it is rejected
LOST: Final = 5  # times that the machine of a unit may be lost
CONTENT_BYTES: Final = 64 << 20  # of the images of a unit that come with their bytes
MAX_CONTENT_BYTES: Final = 1 << 30  # of those of all units that workers have
TOGETHER: Final = 10_000  # skipped images that are reported together
WAKE_SECONDS: Final = 0.2
ENDING: Final = 25  # times WAKE_SECONDS that a listing may take to end
KILLS: Final = "the process that reads it dies"

Pending = Source | Reject | Skipped


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The images of one part, and how to extract them.

    Attributes
    ----------
    images
        Files that the store doesn't know, and rejects of files that could not be listed.
    store
        The store's folder or URL.
    model, options
        As an `Extractor` takes them.
    layers
        Their names, in the order of the store.
    settings
        Those of the store; the model must give the same.
    values, rows_per_part
        As `extract` takes them.
    crashes, lost
        How often its worker process has died, and how often because its machine was lost.
    """

    images: tuple[Source | Reject, ...] = ()
    store: str
    model: str
    options: ExtractorOptions
    layers: tuple[str, ...]
    settings: dict[str, Any]
    values: str
    rows_per_part: int
    crashes: int = 0
    lost: int = 0


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """The result of extracting a unit.

    Attributes
    ----------
    parts
        The parts that were written, but not committed: `StoreWriter.adopt` commits them.
    counts
        How many images gave a row or a reject, and the first rejects.
    warnings
        Kind and text of each warning.
    """

    parts: tuple[PartEntry, ...]
    counts: ExtractionResult
    warnings: tuple[tuple[type[Warning], str], ...]


def extract_unit(unit: Unit) -> UnitResult:
    """Extract the images of a unit into parts that are not committed.

    The extractor stays loaded for the next unit of this process.

    Raises
    ------
    StoreMismatchError
        The model here differs from the one with which the unit was made.
    SparsefeatError
        As `extract` does.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        extractor = _loaded(unit.model, unit.options)
        if extractor.settings != unit.settings:
            raise StoreMismatchError(
                f"{unit.model} gives other features than where the work was divided: see that all "
                "machines have the same model file"
            )
        layers, counts = extractor.layers, ExtractionResult()
        with StoreWriter.open(
            unit.store,
            layers=[layers[name] for name in unit.layers],
            settings=unit.settings,
            provenance=extractor.provenance,
            rows_per_part=unit.rows_per_part,
            values=unit.values,
            scales=extractor.channel_scales,
            detached=True,
        ) as writer:
            with closing(extractor.activations(unit.images, errors="ignore")) as batches:
                for batch in batches:
                    rows = writer.append(batch) if batch.rows or batch.rejects else 0
                    counts.add(batch, rows)
            writer.commit()
    said = {(each.category, str(each.message)): None for each in warned}
    return UnitResult(parts=tuple(writer.parts), counts=counts, warnings=tuple(said))


_extractors: dict[bytes, Extractor] = {}  # the last one that this process has loaded


def _loaded(model: str, options: ExtractorOptions) -> Extractor:
    key = pickle.dumps((model, options))
    if key not in _extractors:
        _extractors.clear()
        _extractors[key] = Extractor.of(model, options)
    return _extractors[key]


class UnitRun:
    """Lets workers extract units of pending images, and commits the parts that they write.

    A unit whose worker has died is tried once more, then in ever smaller units, until the image
    that kills its worker is alone: it is rejected.

    Parameters
    ----------
    workers
        They call `extract_unit`.
    writer
        The store's, which commits the workers' parts.
    blank
        A unit without images: what all units have in common.
    result
        Counts of finished units are added to it.
    """

    def __init__(
        self,
        workers: Workers[Unit, UnitResult],
        writer: StoreWriter,
        blank: Unit,
        result: ExtractionResult,
    ) -> None:
        self._workers, self._writer, self._blank, self._result = workers, writer, blank, result
        self._waiting: deque[Unit] = deque()  # to be tried again
        self._suspects: list[Source | Reject] = []  # single images that killed their worker
        self._content_bytes = 0  # of the units that workers have
        self._proven = False  # some worker has finished a unit
        self._warned: set[tuple[type[Warning], str]] = set()

    def run(
        self,
        pending: Generator[Pending, None, None],
        size: int,
        *,
        progress: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        """Work until nothing is pending, or `stop` is set.

        Parameters
        ----------
        pending
            Images, and counts of skipped ones; a thread iterates over them.
        size
            Images per unit.
        progress
            Called whenever there may be something new.

        Raises
        ------
        ClusterError
            Workers die whatever they work on.
        Exception
            What `pending` raised, once all that came before it is committed.
        """
        with _Feeder(pending, size) as feeder:
            while not stop.is_set():
                # One unit waits at each worker, so that no worker waits for its next one.
                while (
                    self._workers.n_running < 2 * self._workers.capacity
                    and self._content_bytes < MAX_CONTENT_BYTES
                    and (unit := self._next(feeder))
                ):
                    self._content_bytes += _content_bytes(unit.images)
                    self._workers.submit(unit)
                if self._workers.n_running:
                    self._take(self._workers.finished(WAKE_SECONDS))
                elif feeder.ended:
                    break
                progress()
            if feeder.failure is not None and not stop.is_set():
                raise feeder.failure

    def _next(self, feeder: "_Feeder") -> Unit | None:
        if self._waiting:
            return self._waiting.popleft()
        while (some := feeder.take(0 if self._workers.n_running else WAKE_SECONDS)) is not None:
            self._result.add_skipped(some.skipped)
            if some.images:
                return replace(self._blank, images=tuple(some.images))
        return None

    def _take(self, ended: list[Finished[Unit, UnitResult]]) -> None:
        parts: list[PartEntry] = []
        for each in ended:
            self._content_bytes -= _content_bytes(each.argument.images)
            if each.result is None:
                self._try_again(each.argument, each.death, blameless=each.blameless)
                continue
            self._proven = True
            parts += each.result.parts
            self._result.add_unit(each.result.counts)
            for category, text in each.result.warnings:
                if (category, text) not in self._warned:
                    self._warned.add((category, text))
                    warnings.warn(text, category, stacklevel=4)
        if parts:
            left_out = sum(part.rows for part in parts) - self._writer.adopt(parts)
            self._result.rows -= left_out
            self._result.already_stored += left_out
        if self._proven:
            self._reject_suspects()

    def _try_again(self, unit: Unit, death: str, *, blameless: bool) -> None:
        self._result.crashes += 1
        images = unit.images
        if blameless and unit.lost < LOST:
            self._waiting.append(replace(unit, lost=unit.lost + 1))
        elif not images:
            raise ClusterError(
                f"a worker without images to read died ({death}): run the same command without "
                "--cluster on the worker's machine to see why"
            )
        elif unit.crashes + 1 < (CRASHES if len(images) == 1 else 2):
            self._waiting.append(replace(unit, crashes=unit.crashes + 1))
        elif len(images) > 1:
            size = -(-len(images) // SPLIT)
            for start in range(0, len(images), size):
                some = images[start : start + size]
                self._waiting.append(replace(unit, images=some, crashes=1))
        else:
            # Reject it only if workers don't die without an image, too.
            self._suspects += images
            if not self._proven:
                self._waiting.append(self._blank)

    def _reject_suspects(self) -> None:
        rejects = [
            Reject(
                path=image.path,
                root=image.root,
                bytes=image.bytes,
                mtime_ns=image.mtime_ns,
                sha256="",
                reason=KILLS,
            )
            for image in self._suspects
        ]
        self._suspects.clear()
        if rejects:
            none = {
                layer.name: np.empty((0, layer.n_features), np.float32)
                for layer in self._writer.layers
            }
            batch: Batch[Any] = Batch(rows=(), layers=none, rejects=tuple(rejects))
            self._writer.append(batch)
            self._result.add(batch, 0)


def _content_bytes(images: Iterable[Source | Reject]) -> int:
    return sum(len(getattr(each, "content", None) or b"") for each in images)


@dataclass
class _Chunk:
    """Images of one unit, and those skipped between them."""

    images: list[Source | Reject] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)


class _Feeder:
    """Collects pending images into units in a thread, a few units ahead.

    Attributes
    ----------
    ended
        Whether everything was taken.
    failure
        What listing raised after that.
    """

    def __init__(self, pending: Generator[Pending, None, None], size: int) -> None:
        self._pending, self._size = pending, size
        self._chunks: queue.Queue[_Chunk | Exception | None] = queue.Queue(2)
        self._closed = self.ended = False
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._feed, name="sparsefeat-units", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._closed = True
        for _ in range(ENDING):  # a thread whose folder doesn't answer is abandoned
            with suppress(queue.Empty):  # it may wait for room
                self._chunks.get_nowait()
            self._thread.join(WAKE_SECONDS)
            if not self._thread.is_alive():
                break

    def take(self, seconds: float) -> _Chunk | None:
        """Return the next unit's images; None if there are none within `seconds`, or at all."""
        if self.ended:
            return None
        try:
            found = self._chunks.get(timeout=seconds) if seconds else self._chunks.get_nowait()
        except queue.Empty:
            return None
        if isinstance(found, Exception):
            self.failure, found = found, None
        self.ended = found is None
        return found

    def _feed(self) -> None:
        try:
            with closing(self._pending):
                for chunk in self._collected():
                    self._chunks.put(chunk)
                    if self._closed:
                        return
        except Exception as exc:
            self._chunks.put(exc)
        else:
            self._chunks.put(None)

    def _collected(self) -> Iterator[_Chunk]:
        chunk, n_bytes = _Chunk(), 0
        for each in self._pending:
            if isinstance(each, Skipped):
                chunk.skipped += each
            else:
                chunk.images.append(each)
                n_bytes += _content_bytes((each,))
            full = len(chunk.images) >= self._size or n_bytes >= CONTENT_BYTES
            if full or len(chunk.skipped) >= TOGETHER:
                yield chunk
                chunk, n_bytes = _Chunk(), 0
            if self._closed:
                return
        yield chunk
