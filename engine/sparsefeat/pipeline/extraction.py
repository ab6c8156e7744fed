"""A resumable extraction run: images through the network into a store."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Unpack, get_args

from sparsefeat.cluster import LOCAL, LocalWorkers, RayWorkers, Workers
from sparsefeat.errors import InputError, SourceError
from sparsefeat.images import (
    MAX_PIXELS,
    ImageStream,
    Search,
    Shard,
    Source,
    each_image,
    find_image,
    load,
    max_file_bytes,
)
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.pipeline.options import ExtractorOptions, KeywordOptions, show_options
from sparsefeat.pipeline.profile import Stopwatch
from sparsefeat.pipeline.result import ExtractionResult
from sparsefeat.pipeline.specification import Specification
from sparsefeat.pipeline.units import Unit, UnitResult, UnitRun, extract_unit
from sparsefeat.storage import validate_location
from sparsefeat.store import Index, Status, StoreWriter, Values, check_output
from sparsefeat.system import check_choice, counted, map_ordered
from sparsefeat.types import Layer, ReadFailure, Reject, Skipped

AnyPath = str | os.PathLike[str]
LoadSource = Callable[[], Source | Skipped]
Identity = Literal["mtime", "digest"]
FEW_SECONDS = 2.0  # to wait for listing, to see whether there are few images
MIN_IN_UNIT = 64  # images: loading a model takes as long as these
READERS = 8  # threads that compare the bytes of images for worker processes
IDENTITIES: tuple[str, ...] = get_args(Identity)


@show_options
def extract(
    images: AnyPath | Iterable[AnyPath | Source | Reject] | ImageStream,
    store: AnyPath,
    *,
    model: AnyPath | Extractor = "vgg16.onnx",
    layers: str | Sequence[str] | None = None,
    include: str | Iterable[str] = (),
    exclude: str | Iterable[str] = (),
    shard: str | Shard | None = None,
    cluster: str | None = None,
    rows_per_part: int = 1024,
    values: str | Values = "float32",
    identity: Identity = "mtime",
    retry_rejects: bool = False,
    update: bool = False,
    progress: Callable[[ExtractionResult], None] | None = None,
    opening: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
    **options: Unpack[KeywordOptions],
) -> ExtractionResult:
    """Extract the images that the store doesn't hold yet, and commit them part by part.

    An image that the system fails to read is counted in the result and not recorded: the same call
    tries it again.

    Parameters
    ----------
    images
        A folder, a file or a pattern, or several of them; or what `list_images` found. Listing
        continues while the first ones are extracted. The store itself is not searched.
    store
        The store's folder; created if it doesn't exist.
    model
        A file that ``sparsefeat export`` made, or an `Extractor`. Settings and layers must be
        those of the store, if there is one already.
    layers, pool, size, ...
        Options of the `Extractor` that is created from a model file: see `ExtractorOptions`.
    include, exclude
        Patterns of files in folders, as for `list_images`.
    shard
        Such as ``"0/4"``: extract only this process's share of the images, if four processes (0/4
        to 3/4) write into the same store.
    cluster
        Extract in worker processes: on this machine (``local``), on the Ray cluster that it belongs
        to (``auto``), or on the one whose head is at HOST:PORT; None for this process.
        Workers read the images and the model, and write to the store, under the same names as here.
        `threads` is the number for each worker.
    rows_per_part
        Rows that are committed together; a killed run loses at most these.
    values
        How exactly values are stored: ``float32`` (all bits), ``float16``, ``bfloat16``, ``bits:N``
        or ``uint8``. The error of all but the first is recorded in the result's `losses` and in the
        store. An int8 model's values are whole multiples of a scale, and are stored as these whole
        numbers, to the last bit.
    identity
        What identifies an image, besides its path below the root: its size and modification time,
        or the digest of its bytes (which reads every file).
    retry_rejects
        Try again what an earlier run rejected.
    update
        Replace the rows of images that changed on disk since they were stored. Otherwise their rows
        stay as they are, and `ExtractionResult.changed` lists them.
    progress
        Called after every batch, now and then while stored images are skipped, and at the end;
        always with the same object.
    opening
        Called while a store is opened, with the number of its parts that are read and their total.
    stop
        Once set, the run ends after the current batch and commits it.

    Returns
    -------
    ExtractionResult
        Counts of rows added and of rejects, images that had changed, ...

    Raises
    ------
    InputError
        An option is invalid, or was given together with an `Extractor`, which has its own. Or a
        value can't be stored as `values` requires; no row of its batch is stored, earlier rows are
        committed.
    SourceError
        The folder of the images vanished, or can't be read any more; earlier rows are committed.
    StoreMismatchError
        The store was made with other settings, layers or values.
    ClusterError
        There is no such cluster, or its workers die whatever they work on.
    StoreWriteError
        The disk refused. What was committed before stays.

    Examples
    --------
    >>> import sparsefeat
    >>> result = sparsefeat.extract("photos/", "features/", layers="pools")  # doctest: +SKIP
    >>> result.rows  # doctest: +SKIP
    1000
    """
    if unknown := options.keys() - KeywordOptions.__annotations__.keys():
        raise TypeError(f"extract() got an unexpected keyword argument {min(unknown)!r}")
    check_choice(identity, IDENTITIES, "identity")
    if cluster is not None and isinstance(model, Extractor):
        raise InputError(
            "got a cluster and an Extractor, which runs in this process: give a model file"
        )
    values = Values.parse(values) if isinstance(values, str) else values
    if not isinstance(model, Extractor):
        given = ExtractorOptions("block5_pool" if layers is None else layers, **options)
        check_store(store, model, given, values)
        extractor = None if cluster is not None else Extractor.of(model, given)
        specification = extractor.specification if extractor else Specification.of(model, given)
    elif layers is None and not options:
        extractor, specification = model, model.specification
    else:
        names = ", ".join([*(["layers"] if layers is not None else []), *options])
        raise InputError(
            f"got {names} and an Extractor, which has its own: give a model file, or make the "
            "Extractor with them"
        )
    stop, so_far, stopwatch = stop or threading.Event(), ExtractionResult(), Stopwatch()
    shard = Shard.parse(shard) if isinstance(shard, str) else shard
    if include or exclude or shard:
        images = Search(
            images,  # type: ignore[arg-type]
            skip=store,
            include=include,
            exclude=exclude,
            shard=shard,
        )
    found = images
    if not isinstance(found, ImageStream):
        found = ImageStream(map(_listed, each_image(found, skip=store)))

    def opened(done: int, total: int) -> None:
        if stop.is_set():
            raise _Stopped
        if opening is not None:
            opening(done, total)

    where = validate_location(store)
    with ExitStack() as context:
        context.enter_context(closing(found))
        try:
            writer = StoreWriter.open(
                where,
                layers=list(specification.layers.values()),
                settings=specification.settings,
                # On a cluster, the workers write the rows.
                provenance={} if extractor is None else extractor.provenance,
                rows_per_part=rows_per_part,
                values=values,
                scales=specification.channel_scales,
                replace=update,
                operation="update" if update else "extract",
                opening=opened,
            )
        except _Stopped:
            so_far.stopped = True
            return so_far
        context.enter_context(writer)
        pending = _pending(
            found,
            writer.index,
            by_digest=identity == "digest",
            retry_rejects=retry_rejects,
            update=update,
            lean=extractor is None,
            stop=stop,
        )

        def tell() -> None:
            so_far.total, so_far.all_listed = found.n_listed, found.complete
            if progress is not None:
                progress(so_far)

        try:
            if extractor is None:
                assert cluster is not None
                blank = Unit(
                    store=where if isinstance(where, str) else str(where.absolute()),
                    model=str(specification.file.path.absolute()),
                    options=specification.options,
                    layers=tuple(layer.name for layer in writer.layers),
                    settings=specification.settings,
                    values=str(values),
                    rows_per_part=rows_per_part,
                )
                _on_cluster(cluster, blank, writer, pending, found, so_far, tell, stop)
            else:
                batches = extractor.activations(pending, errors="ignore", stopwatch=stopwatch)
                with closing(batches):
                    for batch in batches:
                        with stopwatch.busy("write"):
                            rows = writer.append(batch) if batch.rows or batch.rejects else 0
                        so_far.add(batch, rows)
                        tell()
                        if stop.is_set():
                            break
        except SourceError as exc:
            writer.commit()
            rows = so_far.rows - writer.duplicates
            raise SourceError(f"{exc} ({counted(rows, 'row')} added before)") from exc
        with stopwatch.busy("write"):
            writer.commit()
    so_far.rows -= writer.duplicates
    so_far.already_stored += writer.duplicates
    so_far.changed.sort()  # threads found them
    so_far.losses = dict(writer.losses)
    if extractor is not None:
        so_far.profile = stopwatch.profile(decode_threads=extractor.decode_threads)
    so_far.stopped = so_far.done < found.n_listed or not found.complete
    tell()
    return so_far


def _on_cluster(
    address: str,
    blank: Unit,
    writer: StoreWriter,
    pending: Iterator[Source | Reject | Skipped | LoadSource],
    found: ImageStream,
    so_far: ExtractionResult,
    tell: Callable[[], None],
    stop: threading.Event,
) -> None:
    """Let workers extract the pending images, in units that are copies of `blank` with images."""
    options, size = blank.options, blank.rows_per_part
    gpu = options.provider == "cuda"
    threads = options.threads
    workers: Workers[Unit, UnitResult]
    if address == LOCAL:
        workers = LocalWorkers(extract_unit, threads=threads, gpu=gpu)
    else:
        workers = RayWorkers(extract_unit, address, threads=threads, gpu=gpu)
    with workers:
        blank = replace(blank, options=replace(options, threads=workers.threads))
        # Few images are divided among all workers.
        if found.wait_for_all(FEW_SECONDS):
            size = min(size, max(MIN_IN_UNIT, -(-found.n_listed // workers.capacity)))
        compared = map_ordered(
            lambda image: image() if callable(image) else image,
            pending,
            threads=READERS,
            ahead=4 * READERS,
        )
        UnitRun(workers, writer, blank, so_far).run(compared, size, progress=tell, stop=stop)


def check_store(store: AnyPath, model: AnyPath, options: ExtractorOptions, values: Values) -> None:
    """Check that a store accepts rows of a model, without loading the network.

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

    check_output(validate_location(store), alike)


class _Stopped(Exception):  # noqa: N818  # no error
    """The run was told to stop while the store was opened."""


def _listed(image: object) -> Source | Reject:
    if isinstance(image, str | os.PathLike):
        return find_image(image)
    if not isinstance(image, Source | Reject):
        raise InputError(
            f"got a {type(image).__name__} among the images, expected what list_images "
            "gives: call it with your paths"
        )
    return image


def _pending(
    images: ImageStream,
    index: Index,
    *,
    by_digest: bool,
    retry_rejects: bool,
    update: bool,
    lean: bool,
    stop: threading.Event,
) -> Iterator[Source | Reject | Skipped | LoadSource]:
    """Yield images that the store doesn't know yet, and counts of those that are skipped.

    If a file's bytes decide, a function that reads them, once, is yielded instead.

    Parameters
    ----------
    by_digest
        Compare the bytes of every file with those stored, rather than its size and time.
    retry_rejects
        Yield what an earlier run rejected, too.
    update
        Yield what has changed on disk since it was stored, too.
    lean
        Don't keep the bytes of a file that were read to compare them: another process reads it
        again.
    stop
        Once set, no more is yielded.
    """

    def known(image: Source | Reject, status: Status) -> Skipped | None:
        if status == "stored":
            return Skipped(stored=1)
        if status == "changed" and not update:
            return Skipped(changed=(image.path,))
        return Skipped(rejected=1) if status == "rejected" and not retry_rejects else None

    def load_unknown(image: Source) -> Source | Skipped:
        loaded = load(image)
        if loaded.content is None:
            return loaded
        digest = hashlib.sha256(loaded.content).hexdigest()
        status = index.status(root=image.root, path=image.path, sha256=digest)
        return known(image, status) or (image if lean else loaded)

    most = max_file_bytes(MAX_PIXELS)
    for some in images.blocks(stop):
        skipped = Skipped()
        for image, status in zip(some, index.statuses(some), strict=True):
            if stop.is_set():
                return
            wanted: Source | Reject | LoadSource = image
            # The same path, size and time below another root: either the folder was moved, or two
            # folders hold different images that look alike from outside. Only the bytes can tell.
            unclear = by_digest or status == "elsewhere"
            if unclear and isinstance(image, Source) and image.bytes <= most:
                wanted = partial(load_unknown, image)
            # What the store has recorded of a file says nothing about a failure to read it now.
            elif not isinstance(image, ReadFailure) and (one := known(image, status)):
                skipped += one
                continue
            if skipped:
                yield skipped
                skipped = Skipped()
            yield wanted
        if skipped:
            yield skipped
