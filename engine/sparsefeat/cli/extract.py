"""`sparsefeat extract`."""

import contextlib
import dataclasses
import shlex
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparsefeat.cli.options import (
    EXTRACTOR_OPTIONS,
    OutputFolder,
    Word,
    extractor_options,
    listing_options,
    model_option,
)
from sparsefeat.cli.output import (
    log,
    note_listing,
    print_json,
    print_table,
    printable,
    warnings_as_lines,
)
from sparsefeat.cli.progress import shown
from sparsefeat.cli.stopping import WAKE_SECONDS, run_stoppable
from sparsefeat.errors import InputError
from sparsefeat.system import close_matches, counted

if TYPE_CHECKING:
    from sparsefeat.pipeline import ExtractionResult, Extractor, ExtractorOptions, Profile
    from sparsefeat.store import Values

LISTS = (".csv", ".tsv", ".txt")  # endings of files that are probably meant for --files-from
# As in sparsefeat.store.Values, except bits:N.
VALUES = ("float32", "float16", "bfloat16", "uint8")

EXAMPLES = """
\b
Examples:
  sparsefeat extract photos/ -o features/
  sparsefeat extract photos/ -o features/ --layers block4_pool,block5_pool
  sparsefeat extract 'photos/**/*.jpg' -o features/ --preprocess bilinear
  sparsefeat extract photos/ -o small/ --layers pools --values uint8
  sparsefeat extract photos/ -o features/ --exclude '*-edit.jpg'
  sparsefeat extract s3://bucket/shards -o s3://bucket/features
  sparsefeat extract --files-from photos.csv --keep caption -o features/
  find photos -newer last | sparsefeat extract --files-from - -o features/
Running the same command again continues where the last run ended.
"""


@click.command(epilog=EXAMPLES)
@click.argument("images", nargs=-1)
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputFolder(),
    metavar="STORE",
    help="Folder or URL of the store; it is created if needed.",
)
@model_option
@extractor_options(*EXTRACTOR_OPTIONS)
@click.option(
    "--values",
    default="float32",
    show_default=True,
    metavar="float32|float16|bfloat16|bits:N|uint8",
    help="Precision of stored values. float32 is exact; the error of the others is measured, "
    "printed and stored. Non-zeros stay non-zero.",
)
@click.option(
    "--files-from",
    metavar="FILE",
    help="Read paths of files and folders from FILE, or - for standard input: one per line, or "
    "separated by NUL. Or read a table, .parquet, .csv or .tsv, with a path in each row.",
)
@click.option(
    "--path-column",
    metavar="NAME",
    help="Column of the table with the paths.  [default: path, file_name, image, url, ...]",
)
@click.option(
    "--label-column",
    metavar="NAME",
    help="Column of tables, or field of WebDataset samples, with the labels.",
)
@click.option(
    "--keep",
    metavar="NAMES",
    help="Columns and fields to store with each image, separated by commas: key,url,caption.",
)
@click.option(
    "--root", metavar="DIR", help="Store the paths of single and listed files relative to DIR."
)
@click.option(
    "--rows-per-part",
    type=click.IntRange(1),
    metavar="N",
    default=1024,
    show_default=True,
    help="Rows committed together; a killed run loses at most this many.",
)
@click.option(
    "--identity",
    type=Word(["mtime", "digest"]),
    default="mtime",
    show_default=True,
    help="How to recognize stored images: by path, size and modification time, or by content.",
)
@click.option("--retry-rejects", is_flag=True, help="Retry images that an earlier run rejected.")
@click.option(
    "--shard",
    metavar="I/N",
    help="Extract only this process' share, if N processes (0/N to N-1/N) write to the same store, "
    "on any machines.",
)
@click.option(
    "--cluster",
    metavar="local|auto|HOST:PORT",
    help="Extract in worker processes: on this machine (local), on the Ray cluster that it "
    "belongs to (auto), or on the Ray cluster with this head node. --threads applies to each "
    "worker.",
)
@click.option(
    "--update",
    is_flag=True,
    help="Replace the rows of images that have changed on disk since they were stored.",
)
@listing_options
@click.option("--profile", "profiled", is_flag=True, help="Print the time spent in each stage.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def extract(
    images: tuple[str, ...],
    output: str,
    model: str,
    options: dict[str, Any],
    values: str,
    files_from: str | None,
    path_column: str | None,
    label_column: str | None,
    keep: str | None,
    root: str | None,
    rows_per_part: int,
    identity: str,
    retry_rejects: bool,
    update: bool,
    shard: str | None,
    cluster: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    profiled: bool,
    as_json: bool,
) -> None:
    """Extract features of IMAGES into a store.

    IMAGES are folders, files, patterns, archives (.tar, .tar.gz, .zip, .parquet), and the same in
    buckets (s3://, gs://, az://).

    Damaged files and files that aren't images are rejected: the store records them with the
    reason. A file that the system can't read (missing, no permission, a failing drive) is
    reported, and the same command tries it again. If the folder of the images vanishes, the
    command stops after committing the finished images. Files that accompany images (.mov, .xmp,
    Thumbs.db, ...) are counted and skipped.
    """
    import sparsefeat
    from sparsefeat.images import ImageStream, Search, Shard
    from sparsefeat.pipeline import ExtractionResult, ExtractorOptions, check_store

    parsed = _parsed(values)  # before the model is loaded
    share = None if shard is None else Shard.parse(shard)
    if not images and files_from is None:
        raise click.UsageError("name folders, files or patterns with IMAGES, or use --files-from")
    if root is not None and files_from is None and not any(Path(one).is_file() for one in images):
        raise click.UsageError(
            "--root is for single files and --files-from: paths of a folder or pattern are stored "
            "relative to that folder; leave --root out"
        )
    if profiled and cluster is not None:
        raise click.UsageError("--profile measures one process: leave out --cluster")
    if any(Path(output).absolute() == Path(photo).absolute() for photo in images):
        raise click.UsageError(
            f"{output} is the folder of the images: choose another folder for the store"
        )
    start = time.monotonic()
    with warnings_as_lines():
        threading.Thread(
            target=_load_kernels,
            args=(options["convolution"],),
            name="sparsefeat-load",
            daemon=True,
        ).start()
        chosen = ExtractorOptions(**options)
        check_store(output, model, chosen, parsed)  # before anything that takes time
        search = Search(
            images,
            files_from=files_from,
            root=root,
            skip=output,
            include=include,
            exclude=exclude,
            shard=share,
            path_column=path_column,
            label_column=label_column,
            keep=keep or (),
        )
        inputs = ImageStream(search)
        with shown("images listed", transient=True) as show:
            while not inputs.wait(WAKE_SECONDS):
                show(inputs.n_listed, None, "")
        if inputs.complete and not inputs.n_listed:
            note_listing(search)
            if files_from is None:
                said = f"no image belongs to shard {shard}"
            else:
                listed = "standard input" if files_from == "-" else printable(files_from)
                said = f"{listed} lists no images"
            log(f"{said}: there is nothing to do")
            if as_json:
                _print_json(output, ExtractionResult(all_listed=True), time.monotonic() - start)
            return
        extractor = None if cluster is not None else _loaded(model, chosen)
        setup_seconds = time.monotonic() - start
        with shown("images") as show:
            outcome, stopped_by = run_stoppable(
                lambda stop: sparsefeat.extract(
                    inputs,
                    output,
                    model=extractor or model,
                    **({} if extractor else options),
                    cluster=cluster,
                    rows_per_part=rows_per_part,
                    values=parsed,
                    identity=identity,  # type: ignore[arg-type]
                    retry_rejects=retry_rejects,
                    update=update,
                    progress=lambda so_far: show(
                        so_far.done,
                        so_far.total if so_far.all_listed else None,
                        f"{so_far.rejected:,} rejected" + _crashes(so_far),
                        worked=so_far.worked,
                    ),
                    opening=lambda done, total: show(done, total, what="parts of the store"),
                    stop=stop,
                ),
                **({} if cluster is None else {"stopping": "stopping the workers"}),
            )
    if inputs.complete:
        note_listing(search)
    seconds = time.monotonic() - start
    if as_json:
        facts = None
        if profiled and outcome.profile and extractor:
            facts = _profile_facts(outcome.profile, setup_seconds, extractor)
        _print_json(output, outcome, seconds, facts)
    else:
        _print(output, outcome, seconds)
        _hint_at_lists(images, outcome)
        if outcome.losses:
            _print_losses(outcome, parsed)
        if profiled and outcome.profile and extractor:
            _print_profile(outcome.profile, setup_seconds, extractor)
    if stopped_by is not None:
        raise click.exceptions.Exit(128 + stopped_by)
    if outcome.failed or outcome.nothing_readable:
        raise click.exceptions.Exit(1)


def _loaded(model: str, options: "ExtractorOptions") -> "Extractor":
    from sparsefeat.pipeline import Extractor
    from sparsefeat.runtime import bf16_only_in_vectors

    extractor = Extractor.of(model, options)
    if options.provider == "auto" or extractor.precision != "fp32":
        log(_chosen(extractor))
    if extractor.precision == "bf16" and bf16_only_in_vectors():
        log(
            "this processor has bfloat16 instructions but no AMX, so bf16 is probably slower than "
            "fp32: compare them with sparsefeat bench"
        )
    return extractor


def _crashes(so_far: "ExtractionResult") -> str:
    return f", {counted(so_far.crashes, 'worker')} lost" if so_far.crashes else ""


def _parsed(values: str) -> "Values":
    from sparsefeat.store import Values

    try:
        return Values.parse(values.lower())
    except InputError as exc:
        likely = close_matches(values, VALUES, 1)
        raise InputError(str(exc) + (f"; did you mean {likely[0]}?" if likely else "")) from exc


def _load_kernels(convolution: str) -> None:
    """Load the compiled kernels while the model is loaded, to save time."""
    # An error occurs again when the kernels are used, and is reported then.
    with contextlib.suppress(BaseException):
        import numpy as np

        from sparsefeat.runtime import load_convolutions
        from sparsefeat_kernels import encode

        encode(np.ones((1, 1), np.float32))
        if convolution != "direct":
            load_convolutions()


def _chosen(extractor: "Extractor") -> str:
    unavailable = ", ".join(extractor.unavailable)
    return (
        f"{extractor.provider} in {extractor.precision}, relative error on the model's probe "
        f"{extractor.probe_error:.1e}" + (f"; not available: {unavailable}" * bool(unavailable))
    )


def _print_json(
    output: str, outcome: "ExtractionResult", seconds: float, profile: dict[str, Any] | None = None
) -> None:
    facts = {"store": output, "seconds": seconds, **dataclasses.asdict(outcome)}
    del facts["profile"]
    print_json(facts if profile is None else facts | {"profile": profile})


def _print(output: str, outcome: "ExtractionResult", seconds: float) -> None:
    rate = f", {outcome.worked / seconds:.1f} images/s" * bool(outcome.worked)
    failed = f"{outcome.failed:,} could not be read this time, " * bool(outcome.failed)
    click.echo(
        f"{printable(output)}: {counted(outcome.rows, 'row')} added, "
        f"{outcome.rejected:,} rejected, {failed}"
        f"{outcome.already_stored + outcome.already_rejected:,} already in the store; "
        f"{seconds:.1f} s{rate}"
    )
    for reject in outcome.first_rejects:
        log(f"rejected: {printable(reject.path)}: {reject.reason}")
    if outcome.rejected > len(outcome.first_rejects):
        log(
            f"sparsefeat info {shlex.quote(output)} --rejects lists all "
            f"{outcome.rejected:,} rejects"
        )
    for failure in outcome.first_failures:
        log(f"could not be read: {printable(failure.path)}: {failure.reason}")
    if outcome.failed:
        log(
            f"{counted(outcome.failed, 'image')} could not be read this time and left no "
            "record in the store; run the same command again to retry"
        )
    if outcome.already_rejected:
        log(
            f"{counted(outcome.already_rejected, 'image')} rejected by an earlier run; use "
            "--retry-rejects to retry"
        )
    if outcome.crashes:
        log(
            f"{counted(outcome.crashes, 'worker process', 'worker processes')} died; their "
            "images were tried again"
        )
    if outcome.changed:
        log(
            f"{counted(len(outcome.changed), 'image')} changed on disk after being stored, for "
            f"example {printable(outcome.changed[0])}: the old rows are kept; use --update to "
            "replace them"
        )
    if outcome.stopped:
        log("stopped early; the same command continues from here")


def _hint_at_lists(arguments: tuple[str, ...], outcome: "ExtractionResult") -> None:
    """Name the option for a list of images that was given as if it were an image."""
    if not outcome.rejected:
        return
    for one in arguments:
        if Path(one).suffix.lower() in LISTS:
            log(f"to extract the images that {printable(one)} lists, use --files-from")
            return


def _print_losses(outcome: "ExtractionResult", values: "Values") -> None:
    click.echo(f"stored as {values}; error of the stored rows:")
    rows = [
        (
            layer,
            f"{loss.relative_l2:.1e}",
            f"{loss.cosine_mean:.9f}",
            f"{loss.cosine_min:.9f}",
        )
        for layer, loss in outcome.losses.items()
    ]
    print_table(("layer", "largest relative error", "mean cosine", "lowest"), rows)


def _profile_facts(
    profile: "Profile", setup_seconds: float, extractor: "Extractor"
) -> dict[str, Any]:
    return {
        "convolution": extractor.convolution,
        "convolution_variant": extractor.convolution_variant,
        "setup_seconds": setup_seconds,
        "run_seconds": profile.seconds,
        "stages": [dataclasses.asdict(times) for times in profile.stages],
    }


def _print_profile(profile: "Profile", setup_seconds: float, extractor: "Extractor") -> None:
    click.echo()
    rows = []
    for times in profile.stages:
        share = times.busy_seconds / (times.threads * profile.seconds)
        rows.append(
            (
                times.stage,
                str(times.threads),
                f"{times.busy_seconds:.2f} s",
                f"{100 * share:.1f} %",
                f"{times.waiting_seconds:.2f} s",
            )
        )
    print_table(("stage", "threads", "busy", "of the run", "waiting"), rows)
    click.echo(
        f"the run took {profile.seconds:.2f} s, after {setup_seconds:.2f} s to list images and "
        "load the model; the stages list, write and other run in one thread"
    )
    variant = extractor.convolution_variant
    click.echo(f"convolution: {extractor.convolution}" + (f" ({variant})" if variant else ""))
