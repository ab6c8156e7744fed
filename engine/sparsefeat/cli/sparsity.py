"""`sparsefeat sparsity`."""

import dataclasses
import shlex
from typing import TYPE_CHECKING, Any, Literal

import click

from sparsefeat.cli.options import (
    COMPUTING,
    OutputFile,
    Word,
    check_one_printed,
    extractor_options,
    listing_options,
    model_option,
    refuse_given,
)
from sparsefeat.cli.output import (
    log,
    note_listing,
    print_json,
    print_table,
    printable,
    warnings_as_lines,
    write_text,
)
from sparsefeat.cli.progress import shown
from sparsefeat.system import counted

if TYPE_CHECKING:
    import pandas as pd

    from sparsefeat.analysis import Difference, ScalingZeros, Sparsity
    from sparsefeat.images import Source
    from sparsefeat.pipeline import Extractor
    from sparsefeat.types import Reject

EXAMPLES = """
\b
Examples:
  sparsefeat sparsity photo.jpg
  sparsefeat sparsity photos/
  sparsefeat sparsity features/ --layers stages
  sparsefeat sparsity photos/ --layers block5_pool --by channel | head
  sparsefeat sparsity photos/ --by image --csv zeros.csv
  sparsefeat sparsity cats/ dogs/ --compare
  sparsefeat sparsity photos/ --scaling
"""


@click.command(epilog=EXAMPLES)
@click.argument("sources", nargs=-1, required=True, metavar="IMAGES|STORE...")
@model_option
@click.option(
    "-l",
    "--layers",
    metavar="NAMES",
    help="Layers, as for extract; stages means block1_pool ... block5_pool, fc1, fc2, or the "
    "hidden layers of the model's own top.  [default: stages; for a store, all]",
)
@click.option(
    "--by",
    type=Word(["layer", "image", "channel", "position", "label"]),
    default="layer",
    show_default=True,
    help="Print a line for each layer, image, ... A store's indices are read only for channel and "
    "position.",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Compare each argument with the first one; with --by label, each label with the first.",
)
@click.option(
    "--flatness/--no-flatness",
    default=None,
    help="Correlate zeros with how flat the images are. For a store, this reads the original "
    "images again.  [default: --flatness for images, --no-flatness for a store]",
)
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Folder where the images of STORE are now, if they were moved. Used for --flatness.",
)
@click.option(
    "--scaling",
    is_flag=True,
    help="Show the effect of wrongly scaled input on the zeros of IMAGES.",
)
@listing_options
@extractor_options(*COMPUTING)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the numbers by layer and image as JSON; with --by channel or position, those too.",
)
@click.option(
    "--csv", "csv_file", type=OutputFile(".csv"), help="Write the table as CSV; - prints it."
)
@click.pass_context
def sparsity(
    ctx: click.Context,
    sources: tuple[str, ...],
    model: str,
    layers: str | None,
    by: Literal["layer", "image", "channel", "position", "label"],
    compare: bool,
    flatness: bool | None,
    images: str | None,
    scaling: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    options: dict[str, Any],
    as_json: bool,
    csv_file: str | None,
) -> None:
    """Count the zeros of IMAGES (folders, files, patterns) or of a STORE.

    A channel is dead if it is zero at every position of every image; always on if it is active
    (not zero) at one position or more of every image; never zero if it is active at every position
    of every image.
    """
    from sparsefeat.images import list_images
    from sparsefeat.store import is_store
    from sparsefeat.types import split_failures

    check_one_printed(("--json", as_json), ("--csv -", csv_file))
    stores = [source for source in sources if is_store(source)]
    if (include or exclude) and len(stores) == len(sources):
        raise click.UsageError("--include and --exclude choose among IMAGES: name IMAGES too")
    if len(stores) == len(sources):
        why = "a store's features are computed already"
        refuse_given(ctx, ("model", *COMPUTING), why)
    _check(sources, stores, by=by, compare=compare, scaling=scaling)
    _check_flatness(stores, flatness, images, compare=compare, scaling=scaling)
    if (flatness or images) and by in ("channel", "position", "label") and not as_json:
        raise click.UsageError(
            f"--by {by} shows no flatness: leave {'--images' if images else '--flatness'} out, or "
            "use --by layer, --by image or --json"
        )
    flatness = True if images else flatness
    sets = [(source,) for source in sources] if compare else [sources]
    # Before the model is loaded, so that a mistyped folder isn't reported as a missing model.
    listed = [
        list_images([] if names[0] in stores else names, include=include, exclude=exclude)
        for names in sets
    ]
    note_listing(*listed)
    with warnings_as_lines():
        extractor = None
        if any(listed):
            from sparsefeat.pipeline import Extractor

            extractor = Extractor(model, layers or "stages", **options)
        if scaling:
            assert extractor is not None
            scaled = _scalings(listed[0], extractor)
            _show_scalings(scaled, as_json, csv_file)
            if scaled[0].n_failed:
                raise click.exceptions.Exit(1)
            return
        found = [
            _analyse(
                names,
                inputs,
                extractor,
                layers,
                by=by,
                flatness=False if compare else flatness,
                images=images,
            )
            for names, inputs in zip(sets, listed, strict=True)
        ]
    for each in found:
        _note_unmeasured(each)
    if not compare and not found[0].n_images:
        source = found[0].source
        said = f"{source}: there are no rows to count"
        if stores and found[0].rejects:
            said += f"; sparsefeat info {shlex.quote(source)} --rejects lists its "
            said += counted(len(found[0].rejects), "reject")
        log(printable(said))
        raise click.exceptions.Exit(1)
    for each, names in zip(found, sets, strict=True):
        _note_missing_stages(each, layers, extractor, is_stored=names[0] in stores)
    if compare:
        _show_differences(found, by, as_json, csv_file)
    else:
        _show(found[0], by, as_json, csv_file)
    if any(split_failures(each.rejects)[1] for each in found):
        raise click.exceptions.Exit(1)


def _check(
    sources: tuple[str, ...], stores: list[str], *, by: str, compare: bool, scaling: bool
) -> None:
    """Refuse combinations of options that make no sense, before anything is run."""
    if scaling and (stores or compare or by != "layer"):
        raise click.UsageError("--scaling takes IMAGES, and neither --by nor --compare")
    if compare and by not in ("layer", "label"):
        raise click.UsageError("--compare allows --by label, or no --by")
    if compare and by == "layer" and len(sources) < 2:
        raise click.UsageError(
            "--compare needs two folders or stores, or --by label, which compares the folders "
            "inside one"
        )
    if compare and by == "label" and len(sources) > 1:
        raise click.UsageError("--compare --by label takes one folder or store")
    if stores and len(sources) > 1 and not compare:
        raise click.UsageError(
            f"{printable(stores[0])} is a store, and stores can't be counted together: name one "
            "store alone, or use --compare"
        )


def _check_flatness(
    stores: list[str], flatness: bool | None, images: str | None, *, compare: bool, scaling: bool
) -> None:
    """Refuse options for a flatness that wouldn't be shown."""
    if (flatness or images) and (compare or scaling):
        raise click.UsageError(
            f"--{'compare' if compare else 'scaling'} shows no flatness: leave "
            f"{'--images' if images else '--flatness'} out, or run the command twice"
        )
    if images and not stores:
        raise click.UsageError("--images says where the images of a STORE are: name one")
    if images and flatness is False:
        raise click.UsageError("--images is for flatness: leave it or --no-flatness out")


def _analyse(
    sources: tuple[str, ...],
    inputs: "list[Source | Reject]",
    extractor: "Extractor | None",
    layers: str | None,
    *,
    by: str,
    flatness: bool | None,
    images: str | None,
) -> "Sparsity":
    from sparsefeat.analysis import analyse

    stored = not inputs
    with shown("rows" if stored else "images") as show:
        if stored:
            return analyse(
                sources[0],
                layers,
                flatness=flatness,
                images=images,
                positions=by in ("channel", "position"),
                progress=show,
            )
        return analyse(
            inputs,
            extractor=extractor,
            flatness=flatness,
            name=", ".join(sources),
            progress=show,
        )


def _scalings(inputs: "list[Source | Reject]", extractor: "Extractor") -> "list[ScalingZeros]":
    from sparsefeat.analysis import compare_scalings, describe_images_read

    with shown("images") as show:
        found = compare_scalings(extractor, inputs, progress=lambda done: show(done, len(inputs)))
    first = found[0]
    log(describe_images_read(first.n_images, first.n_rejected, first.n_failed))
    return found


def _note_unmeasured(found: "Sparsity") -> None:
    """Log for how many stored images flatness wasn't measured, and why."""
    if found.unmeasured:
        unmeasured = sum(found.unmeasured.values())
        reasons = ", ".join(f"{reason} ({n:,})" for reason, n in found.unmeasured.items())
        log(
            f"flatness of {unmeasured:,} of {counted(found.n_images, 'image')} not measured: "
            f"{reasons}; if the images were moved, name their folder with --images"
        )


def _note_missing_stages(
    found: "Sparsity", layers: str | None, extractor: "Extractor | None", *, is_stored: bool
) -> None:
    """Log which stages of the network are missing, and why."""
    from sparsefeat.analysis import explain_last_stage, missing_stages

    wanted = ("" if is_stored else "stages") if layers is None else layers
    if "stages" not in [word.strip() for word in wanted.split(",")]:
        return
    if is_stored:
        if missing := missing_stages(list(found.counts)):
            log(f"the store has no {', '.join(missing)}: these stages are left out")
    elif extractor is not None and (why := explain_last_stage(extractor.metadata.layers)):
        log(f"the last stage is block5_pool: {why}")


def _show(found: "Sparsity", by: Any, as_json: bool, csv_file: str | None) -> None:
    from sparsefeat.analysis import (
        channel_table,
        correlation_table,
        heading,
        image_table,
        label_table,
        layer_table,
        long_table,
    )

    table = None if csv_file is None else long_table(found, by)  # before anything is printed
    if as_json:
        print_json(found.to_json(channels=by == "channel", positions=by == "position"))
    if table is not None and csv_file is not None:
        _write_csv(table, csv_file)
    if as_json or csv_file == "-":
        return
    # Correlations need scipy: computed before anything is printed, in case it doesn't load.
    columns, rows = correlation_table(found) if by == "layer" else ((), [])
    click.echo(printable(heading(found)))
    if by == "position":
        _print_grids(found)
        return
    tables = {
        "layer": layer_table,
        "image": image_table,
        "channel": channel_table,
        "label": label_table,
    }
    print_table(*tables[by](found), left=2 if by in ("layer", "label") else 1)
    if rows:
        click.echo(
            "\nCorrelation of an image's zeros with the share of its 8x8 blocks that are flat:"
        )
        print_table(columns, rows)


def _print_grids(found: "Sparsity") -> None:
    from sparsefeat.analysis import position_grid

    for name, zeros in found.counts.items():
        if zeros.per_position is None:
            log(f"{name} has no positions")
            continue
        height, width = zeros.per_position.shape
        grid = position_grid(zeros)
        shown_as = f", in {len(grid)}x{len(grid[0])} cells" * (len(grid) < height)
        click.echo(f"\n{name}: percent of zeros at {height}x{width} positions{shown_as}")
        for row in grid:
            click.echo(" ".join(cell.rjust(3) for cell in row))


def _show_differences(
    found: "list[Sparsity]", by: str, as_json: bool, csv_file: str | None
) -> None:
    from sparsefeat.analysis import difference_frame, difference_table

    differences: list[Difference] = []
    if by == "label":
        differences = found[0].compare_labels()
    else:
        for other in found[1:]:
            differences += other.compare(found[0])
    if not differences:
        raise click.UsageError(
            "nothing to compare: the sets have no layer in common, or one of them has no images"
        )
    if as_json:
        print_json([dataclasses.asdict(each) for each in differences])
    if csv_file is not None:
        _write_csv(difference_frame(differences), csv_file)
    if as_json or csv_file == "-":
        return
    print_table(*difference_table(differences), left=3)


def _show_scalings(found: "list[ScalingZeros]", as_json: bool, csv_file: str | None) -> None:
    from sparsefeat.analysis import scaling_frame, scaling_table

    if as_json:
        print_json([dataclasses.asdict(each) for each in found])
    if csv_file is not None:
        _write_csv(scaling_frame(found), csv_file)
    if not as_json and csv_file != "-":
        print_table(*scaling_table(found))


def _write_csv(table: "pd.DataFrame", file: str) -> None:
    write_text(file, table.to_csv(index=False, lineterminator="\n"))
