"""`sparsefeat bench`."""

import json
from typing import TYPE_CHECKING, Any

import click

from sparsefeat.cli.options import (
    Counts,
    OutputFile,
    check_one_printed,
    extractor_options,
    listing_options,
    model_option,
    refuse_given,
)
from sparsefeat.cli.output import (
    log,
    note_listing,
    print_table,
    warnings_as_lines,
    write_text,
)
from sparsefeat.cli.progress import shown
from sparsefeat.cli.stopping import run_stoppable

if TYPE_CHECKING:
    from sparsefeat.bench import Result

EXAMPLES = """
\b
Examples:
  sparsefeat bench
  sparsefeat bench photos/ --layers pools --batch-sizes 1,8,32
  sparsefeat bench photos/ --from-files --html bench.html
  sparsefeat bench --engines tf-jit,sparsefeat,onnxruntime-cpu --seconds 120
  sparsefeat bench --int8 vgg16-int8.onnx --json bench.json


Engines: keras-predict, tf-function, tf-jit; torch-eager, torch-compile;
sparsefeat; onnxruntime-cpu, onnxruntime-openvino, onnxruntime-openvino-bf16,
onnxruntime-cuda; with --int8 onnxruntime-cpu-int8, onnxruntime-openvino-int8.
"""


@click.command(epilog=EXAMPLES)
@click.argument("images", nargs=-1)
@model_option
@click.option(
    "--int8", metavar="FILE", help="Int8 model that sparsefeat quantize made from the model."
)
@listing_options
@extractor_options("layers", "size", "preprocess", "threads")
@click.option(
    "--from-files",
    is_flag=True,
    help="Time everything from JPEG files to features, each engine with its usual loader, instead "
    "of the network only.",
)
@click.option(
    "--batch-sizes",
    type=Counts(),
    default="1,8",
    show_default=True,
    help="Batch sizes to measure, each at most 4,096.",
)
@click.option(
    "--engines",
    default="all",
    show_default=True,
    metavar="NAMES",
    help="Engines, separated by commas. all leaves out the engines that aren't available, and says "
    "why.",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="Engine that the others are compared with.  "
    "[default: TensorFlow's fastest engine, else onnxruntime-cpu]",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    metavar="N",
    default=15,
    show_default=True,
    help="Turns of each engine at each batch size.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Total time to measure, instead of --rounds; each engine has at least six rounds.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    help="Seed of the random order and of the noise estimate.",
)
@click.option(
    "--json",
    "json_file",
    type=OutputFile(".json"),
    help="Write everything, raw times included, as JSON; - prints it.",
)
@click.option(
    "--html", "html_file", type=OutputFile(".html"), help="Write a page with plots; - prints it."
)
@click.pass_context
def bench(
    ctx: click.Context,
    images: tuple[str, ...],
    model: str,
    int8: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    options: dict[str, Any],
    from_files: bool,
    batch_sizes: tuple[int, ...],
    engines: str,
    baseline: str | None,
    rounds: int,
    seconds: float | None,
    seed: int,
    json_file: str | None,
    html_file: str | None,
) -> None:
    """Compare sparsefeat, ONNX Runtime, TensorFlow and PyTorch on this machine.

    IMAGES are folders, files and patterns; by default ten images that sparsefeat ships. Without
    --from-files only the network is timed. Each engine runs in its own process with the same
    number of threads, and the engines take turns. Their outputs are compared before any engine
    is timed. TensorFlow needs pip install 'sparsefeat[export]', PyTorch 'sparsefeat[torch]', and
    --html 'sparsefeat[viz]'.
    """
    from sparsefeat.bench import compare, render_report
    from sparsefeat.images import list_images
    from sparsefeat.viz.pages import check_installed

    if (include or exclude) and not images:
        raise click.UsageError("--include and --exclude choose among IMAGES: name IMAGES too")
    check_one_printed(("--json -", json_file), ("--html -", html_file))
    if seconds is not None:
        refuse_given(ctx, ("rounds",), "--seconds replaces it")
    if html_file:
        check_installed()
    inputs = list_images(images, include=include, exclude=exclude)
    note_listing(inputs)
    with warnings_as_lines(), shown("turns") as show:
        result, stopped_by = run_stoppable(
            lambda stop: compare(
                model,
                inputs,
                int8=int8,
                from_files=from_files,
                batch_sizes=batch_sizes,
                engines=engines.lower(),
                baseline=baseline and baseline.lower(),
                rounds=rounds,
                seconds=seconds,
                seed=seed,
                progress=show,
                stop=stop,
                **options,
            ),
            stopping="stopping after the current turn",
        )
    if result.measurements:
        if "-" not in (json_file, html_file):
            _print(result)
        if json_file:
            document = json.dumps(result.to_json(), indent=1, allow_nan=False)
            write_text(json_file, document + "\n")
        if html_file:
            write_text(html_file, render_report(result))
    else:
        log("stopped before the first round was finished: there is nothing to show")
    if stopped_by is not None:
        raise click.exceptions.Exit(128 + stopped_by)
    if result.settings["images_failed"]:
        raise click.exceptions.Exit(1)


def _print(result: "Result") -> None:
    from sparsefeat.bench import COLUMNS, cautions, findings, heading, table

    click.echo(heading(result))
    print_table(COLUMNS, table(result.rows()))
    for sentence in findings(result):
        click.echo(sentence)
    for sentence in cautions(result):
        log(sentence)
