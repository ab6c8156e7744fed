"""An extraction run: photographs through the network into a store, resumably."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

from sparsefeat.errors import InputError, SourceError
from sparsefeat.images import (
    MAX_PIXELS,
    PictureStream,
    Search,
    Shard,
    Source,
    each_picture,
    find_picture,
    largest_file,
    load,
)
from sparsefeat.pipeline.extractor import Extractor, Load
from sparsefeat.pipeline.options import ExtractorOptions
from sparsefeat.pipeline.profile import Profile, Stopwatch
from sparsefeat.pipeline.specification import Specification
from sparsefeat.storage import checked_place
from sparsefeat.store import Index, Loss, Status, StoreWriter, Values, check_output
from sparsefeat.system import check_choice, counted
from sparsefeat.types import Batch, Layer, PassedOver, ReadFailure, Reject, failures_apart

AnyPath = str | os.PathLike[str]
Identity = Literal["mtime", "digest"]
IDENTITIES: tuple[str, ...] = get_args(Identity)
MOST_SHOWN = 5  # all rejects are in the store


@dataclass(kw_only=True)
class ExtractionResult:
    """How far a run is, and at its end what came of it.

    Attributes
    ----------
    total
        Pictures that were listed so far.
    all_listed
        Whether these are all.
    rows, rejected, failed
        What became of those worked on so far. What failed could not be read for a cause that lies
        in the system; it is not recorded, and the next run tries it again.
    already_stored, already_rejected
        Pictures met so far that the store holds, or has rejected, and that were passed over.
    changed
        Paths of pictures that the store holds but that have changed on disk since; their rows
        stay as they are.
    first_rejects, first_failures
        The first few of the rejected, and of what failed.
    stopped
        The run was told to stop, and has committed what it had.
    losses
        Of each layer that isn't kept to the last bit, how far its stored values are from what was
        computed; once the run is over.
    profile
        Where the time went; once the run is over.
    """

    total: int = 0
    all_listed: bool = False
    rows: int = 0
    rejected: int = 0
    failed: int = 0
    already_stored: int = 0
    already_rejected: int = 0
    changed: list[str] = field(default_factory=list)
    first_rejects: list[Reject] = field(default_factory=list)
    first_failures: list[ReadFailure] = field(default_factory=list)
    stopped: bool = False
    losses: dict[str, Loss] = field(default_factory=dict)
    profile: Profile | None = None

    def add(self, batch: Batch[Any], rows: int) -> None:
        """Count a batch that was handed to the store, which took so many new rows of it."""
        self.rows += rows
        self.already_stored += len(batch.rows) - rows + batch.passed_over.stored
        self.already_rejected += batch.passed_over.rejected
        self.changed += batch.passed_over.changed
        recorded, failures = failures_apart(batch.rejects)
        self.rejected += len(recorded)
        self.failed += len(failures)
        self.first_rejects += recorded[: MOST_SHOWN - len(self.first_rejects)]
        self.first_failures += failures[: MOST_SHOWN - len(self.first_failures)]

    @property
    def worked(self) -> int:
        """Pictures worked on so far."""
        return self.rows + self.rejected + self.failed

    @property
    def done(self) -> int:
        """Pictures dealt with so far, those passed over included."""
        return self.worked + self.already_stored + self.already_rejected + len(self.changed)

    @property
    def nothing_readable(self) -> bool:
        """Whether there were pictures, and none of them could be read."""
        readable = self.rows + self.already_stored + len(self.changed)
        return not readable and self.rejected + self.failed + self.already_rejected > 0


def extract(
    images: AnyPath | Iterable[AnyPath | Source | Reject] | PictureStream,
    store: AnyPath,
    *,
    model: AnyPath | Extractor = "vgg16.onnx",
    options: ExtractorOptions | None = None,
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    shard: str | Shard | None = None,
    rows_per_part: int = 1024,
    values: str | Values = "float32",
    identity: Identity = "mtime",
    retry_rejects: bool = False,
    update: bool = False,
    report: Callable[[ExtractionResult], None] | None = None,
    opening: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> ExtractionResult:
    """Extract what the store doesn't hold yet, and commit it part by part.

    What can't be read for a cause that lies in the system is counted in the result and not
    recorded: the same call tries it again.

    Parameters
    ----------
    images
        A folder, a file or a pattern, or several of them; or what `list_pictures` found. They
        are listed while the first of them are worked on.
    store
        The store's folder; made if it isn't there.
    model
        A file that ``sparsefeat export`` made, or an `Extractor`. Settings and layers must be
        those of the store, if there is one already.
    options
        What an `Extractor` is made with of a model file.
    include, exclude
        Which files of folders, as `list_pictures` takes them.
    shard
        Such as ``"0/4"``: only the images that are this process' share, where four (0/4 to 3/4)
        write into the same store.
    rows_per_part
        Rows that are committed together: what a killed run loses at most.
    values
        How exactly values are stored: ``float32`` (all bits), ``float16``, ``bfloat16``,
        ``bits:N`` or ``uint8``. What others than the first lose stands in the result's `losses`
        and in the store. An int8 model's values are whole numbers of some step, and stored as
        those, to the last bit.
    identity
        What tells a stored picture from a new one besides its path below the root: its size
        and modification time, or the digest of its bytes (which reads every file).
    retry_rejects
        Try again what an earlier run rejected.
    update
        Give images that changed on disk since they were stored a new row, in place of the old
        one. Without it their rows stay as they are, and `ExtractionResult.changed` lists them.
    report
        Called after every batch, now and then while stored images are passed over, and at the
        end; always with the same object.
    opening
        Called while a store is opened, with how many of its parts are known, and of how many.
    stop
        Once set, the run ends after the batch in hand and commits it.

    Returns
    -------
    ExtractionResult
        What came of it: rows added, rejects, images that had changed, ...

    Raises
    ------
    InputError
        A value can't be stored as `values` wants it, before any of its batch is; what came before
        is committed.
    SourceError
        The folder of the pictures vanished, or can't be read any more; what came before is
        committed.
    StoreMismatchError
        The store was made with other settings, layers or values.
    StoreWriteError
        The disk refused. What was committed before stays.

    Examples
    --------
    >>> import sparsefeat
    >>> options = sparsefeat.ExtractorOptions("pools")
    >>> result = sparsefeat.extract("photos/", "features/", options=options)  # doctest: +SKIP
    >>> result.rows  # doctest: +SKIP
    1000
    """
    check_choice(identity, IDENTITIES, "identity")
    values = Values.parse(values) if isinstance(values, str) else values
    if not isinstance(model, Extractor):
        options = options or ExtractorOptions()
        check_store(store, model, options, values)
        extractor = Extractor.of(model, options)
    elif options is None:
        extractor = model
    else:
        raise InputError(
            "got options and an Extractor, which has its own: give a model file, or make the "
            "Extractor with them"
        )
    stop, progress, stopwatch = stop or threading.Event(), ExtractionResult(), Stopwatch()
    shard = Shard.parse(shard) if isinstance(shard, str) else shard
    if include or exclude or shard:
        images = Search(
            images,  # type: ignore[arg-type]
            include=include,
            exclude=exclude,
            shard=shard,
        )
    found = (
        images
        if isinstance(images, PictureStream)
        else PictureStream(map(_listed, each_picture(images)))
    )

    def opened(done: int, total: int) -> None:
        if stop.is_set():
            raise _Stopped
        if opening is not None:
            opening(done, total)

    with ExitStack() as context:
        context.enter_context(closing(found))
        try:
            writer = StoreWriter.open(
                checked_place(store),
                layers=list(extractor.layers.values()),
                settings=extractor.settings,
                provenance=extractor.provenance,
                rows_per_part=rows_per_part,
                values=values,
                steps=extractor.steps,
                replace=update,
                operation="update" if update else "extract",
                opening=opened,
            )
        except _Stopped:
            progress.stopped = True
            return progress
        context.enter_context(writer)
        todo = _pending(
            found,
            writer.index,
            by_digest=identity == "digest",
            retry_rejects=retry_rejects,
            update=update,
            stop=stop,
        )
        batches = extractor.activations(todo, errors="ignore", stopwatch=stopwatch)
        try:
            with closing(batches):
                for batch in batches:
                    with stopwatch.busy("write"):
                        rows = writer.append(batch) if batch.rows or batch.rejects else 0
                    progress.add(batch, rows)
                    progress.total, progress.all_listed = found.n_listed, found.complete
                    if report is not None:
                        report(progress)
                    if stop.is_set():
                        break
        except SourceError as exc:
            writer.commit()
            rows = progress.rows - writer.duplicates
            raise SourceError(f"{exc} ({counted(rows, 'row')} added before)") from exc
        with stopwatch.busy("write"):
            writer.commit()
    progress.rows -= writer.duplicates
    progress.already_stored += writer.duplicates
    progress.total, progress.all_listed = found.n_listed, found.complete
    progress.changed.sort()  # threads found them
    progress.losses = dict(writer.losses)
    progress.profile = stopwatch.profile(decode_threads=extractor.decode_threads)
    progress.stopped = progress.done < progress.total or not progress.all_listed
    if report is not None:
        report(progress)
    return progress


def check_store(store: AnyPath, model: AnyPath, options: ExtractorOptions, values: Values) -> None:
    """Check that a store takes rows of a model, which is not loaded for it.

    Raises
    ------
    StoreError
        As `extract` does.
    ModelError, LayerError, PrecisionError, InputError
        There is a store, and the model or the options are unusable.
    """

    def alike() -> tuple[list[Layer], dict[str, Any], str]:
        specification = Specification.of(model, options)
        return [*specification.layers.values()], specification.settings, str(values)

    check_output(checked_place(store), alike)


class _Stopped(Exception):  # noqa: N818  # no error
    """The run was told to stop while the store was opened."""


def _listed(picture: object) -> Source | Reject:
    if isinstance(picture, str | os.PathLike):
        return find_picture(picture)
    if not isinstance(picture, Source | Reject):
        raise InputError(
            f"got a {type(picture).__name__} among the pictures, expected what list_pictures "
            "gives: call it with your paths"
        )
    return picture


def _pending(
    pictures: PictureStream,
    index: Index,
    *,
    by_digest: bool,
    retry_rejects: bool,
    update: bool,
    stop: threading.Event,
) -> Iterator[Source | Reject | PassedOver | Load]:
    """Yield what the store doesn't know yet, and how many others were passed over.

    Where a file's bytes decide, what is yielded reads them, once.

    Parameters
    ----------
    by_digest
        Compare the bytes of every file with those stored, rather than its size and time.
    retry_rejects
        Yield what an earlier run rejected, too.
    update
        Yield what has changed on disk since it was stored, too.
    stop
        Once set, no more is yielded.
    """

    def known(picture: Source | Reject, status: Status) -> PassedOver | None:
        if status == "stored":
            return PassedOver(stored=1)
        if status == "changed" and not update:
            return PassedOver(changed=(picture.path,))
        return PassedOver(rejected=1) if status == "rejected" and not retry_rejects else None

    def load_unknown(picture: Source) -> Source | PassedOver:
        loaded = load(picture)
        if loaded.content is None:
            return loaded
        status = index.status(
            root=picture.root,
            path=picture.path,
            bytes=picture.bytes,
            mtime_ns=picture.mtime_ns,
            sha256=hashlib.sha256(loaded.content).hexdigest(),
        )
        return known(picture, status) or loaded

    most = largest_file(MAX_PIXELS)
    for some in pictures.blocks(stop):
        passed_over = PassedOver()
        for picture, status in zip(some, index.statuses(some), strict=True):
            if stop.is_set():
                return
            wanted: Source | Reject | Load = picture
            # The same path, size and time below another root: either the folder was moved, or two
            # folders hold different pictures that look alike from outside. Only the bytes can tell.
            unclear = by_digest or status == "elsewhere"
            if unclear and isinstance(picture, Source) and picture.bytes <= most:
                wanted = partial(load_unknown, picture)
            # What the store has of a file that failed says nothing of today.
            elif not isinstance(picture, ReadFailure) and (one := known(picture, status)):
                passed_over += one
                continue
            if passed_over:
                yield passed_over
                passed_over = PassedOver()
            yield wanted
        if passed_over:
            yield passed_over
