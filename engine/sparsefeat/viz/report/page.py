"""Writes a report as one page."""

import os

from sparsefeat.model import PRE
from sparsefeat.storage import write_file
from sparsefeat.system import counted, format_bytes, percent
from sparsefeat.viz.pages import (
    Card,
    Details,
    Gallery,
    Grid,
    Part,
    Section,
    Table,
    Tile,
    Tiles,
    check_installed,
    render_page,
)
from sparsefeat.viz.report import plots
from sparsefeat.viz.report.images import MIN_ROWS, Outlier
from sparsefeat.viz.report.report import SHOWN_OUTLIERS, Report
from sparsefeat.viz.report.text import (
    channel_sentences,
    findings,
    floor_method,
    heading,
    main_rows,
    outlier_method,
    provenance_rows,
    settings_rows,
    title,
)

_ZERO = (
    "ReLU makes the zeros: it turns every negative pre-activation into 0. A zero means that the "
    "channel's feature is absent at this position. Zeros are not missing data."
)
_CHANNEL = (
    "A channel measures one feature at every position (row and column). It is active where it is "
    "not zero. A channel is dead if it is zero at every position of every image of this store; "
    "always on if it is active at one position or more of every image; never zero if it is active "
    "at every position of every image."
)
_POSITION = (
    "The share of zeros at each position, over all images and channels. Darker means more zeros; "
    "each map has its own colour scale. Borders differ from the inside, because images seldom "
    "have their subject there, and because every convolution pads its input with zeros."
)

FOLDED = 400  # longer lists of channels, in characters, are folded


def write_report(report: Report, path: str | os.PathLike[str]) -> int:
    """Write the page of a report to a file; return its size in bytes.

    Raises
    ------
    DependencyError
        plotly or Jinja2 isn't installed, or doesn't load.
    InputError
        The file can't be written.
    """
    return write_file(path, render_report(report))


def render_report(report: Report) -> str:
    """Return the page as HTML that needs no other file and no network.

    Raises
    ------
    DependencyError
        plotly or Jinja2 isn't installed, or doesn't load.
    """
    check_installed()
    sections = [Section(title="At a glance", parts=[*_tiles(report), findings(report)])]
    if report.n_rows:
        sections += [
            Section(title="Zeros by layer", parts=_layers(report)),
            Section(title="Channels", parts=_channels(report)),
            *_positions(report),
            *_images(report),
            Section(title="Size", parts=_sizes(report)),
        ]
    if report.rejects.count:
        sections.append(Section(title="Rejects", parts=_rejects(report)))
    sections.append(Section(title="Provenance", parts=_provenance(report)))
    return render_page(title(report), sections, lead=heading(report), contents=True)


def _tiles(report: Report) -> list[Part]:
    if not report.n_rows:
        return []
    zeros, sizes = report.zeros[report.ranked_by], report.sizes.layers
    dense, stored = sum(size.dense for size in sizes), sum(size.stored for size in sizes)
    return [
        Tiles(
            tiles=[
                Tile(
                    name=f"zeros in {zeros.name}",
                    value=percent(zeros.sparsity),
                    note=f"{percent(zeros.spread.min)} to {percent(zeros.spread.max)}",
                ),
                Tile(
                    name="images",
                    value=f"{report.n_rows:,}",
                    note=f"{report.rejects.count:,} rejected, {len(report.outliers):,} unusual",
                ),
                Tile(
                    name="dead channels",
                    value=f"{len(zeros.dead):,}",
                    note=f"of {zeros.layer.n_channels:,} of {zeros.name}",
                ),
                Tile(
                    name="stored",
                    value=format_bytes(stored),
                    note=f"{percent(stored / dense)} of dense",
                ),
            ]
        )
    ]


def _layers(report: Report) -> list[Part]:
    parts: list[Part] = [
        _ZERO,
        plots.layers_figure(report),
    ]
    if any(name.endswith(PRE) for name in report.zeros):
        parts.append("Layers named .../pre are pre-activations: values before ReLU, rarely zero.")
    return [*parts, Details(summary="Numbers as a table", parts=[plots.layers_table(report)])]


def _channels(report: Report) -> list[Part]:
    parts: list[Part] = [_CHANNEL, _dead_table(report)]
    said = channel_sentences(report)
    if sum(map(len, said)) > FOLDED:
        parts.append(Details(summary="Numbers of these channels, from 0", parts=[said]))
    elif said:
        parts += ["Numbers of these channels, from 0:", said]
    figures = [plots.activity_figure(report, images=each) for each in (True, False)]
    tables = [plots.activity_table(report, images=each) for each in (True, False)]
    return [
        *parts,
        Grid(wide=True, parts=figures),
        Details(summary="Numbers as tables", parts=tables),
    ]


def _dead_table(report: Report) -> Table:
    rows = []
    for name, zeros in report.zeros.items():
        on = zeros.always_on
        rows.append(
            (
                name,
                f"{zeros.layer.n_channels:,}",
                f"{len(zeros.dead):,}",
                "-" if on is None else f"{len(on):,}",
                f"{len(zeros.never_zero):,}",
            )
        )
    return Table(
        caption=f"Number of channels, over {counted(report.n_rows, 'image')}",
        columns=("layer", "channels", "dead", "always on", "never zero"),
        rows=rows,
    )


def _positions(report: Report) -> list[Section]:
    maps = {
        name: shares
        for name, zeros in report.zeros.items()
        if (shares := zeros.position_sparsity) is not None
    }
    if not maps:
        return []
    figures = [plots.map_figure(name, shares) for name, shares in maps.items()]
    return [
        Section(
            title="Zeros by position",
            parts=[
                _POSITION,
                Grid(parts=figures),
                Details(summary="Numbers as a table", parts=[plots.maps_table(maps)]),
            ],
        )
    ]


def _images(report: Report) -> list[Section]:
    layer = report.ranked_by
    zeros = report.zeros[layer]

    def card(row: int, kind: str) -> Card:
        share = percent(float(zeros.row_sparsity[row]))
        return _card(report, row, f"one of the {kind} images", [f"{share} zeros"])

    sections = []
    if report.sparsest:
        parts: list[Part] = [
            f"Ranked by the share of zeros in {layer}.",
            Gallery(title="Most zeros", cards=[card(row, "sparsest") for row in report.sparsest]),
            Gallery(title="Fewest zeros", cards=[card(row, "densest") for row in report.densest]),
        ]
        sections.append(Section(title="Sparsest and densest images", parts=parts))
    unusual: list[Part] = [outlier_method(report)]
    if report.outliers:
        shown = report.outliers[:SHOWN_OUTLIERS]
        name = counted(len(report.outliers), "image")
        if len(shown) < len(report.outliers):
            name += f"; these are the {len(shown)} most unusual"
        cards = [_card(report, one.row, "unusual", _outlier_lines(one)) for one in shown]
        unusual.append(Gallery(title=name, cards=cards))
    elif report.n_rows >= MIN_ROWS:
        unusual.append("No image of this store is unusual.")
    return [*sections, Section(title="Unusual images", parts=unusual)]


def _outlier_lines(outlier: Outlier) -> list[str]:
    more = len(outlier.layers) - 1
    return [
        f"{percent(outlier.zeros)} zeros in {outlier.layer}",
        f"z = {outlier.z:+.1f}" + (f"; unusual in {counted(more, 'more layer')}" if more else ""),
    ]


def _card(report: Report, row: int, kind: str, lines: list[str]) -> Card:
    image = report.images[row]
    return Card(
        title=image.path or f"row {row}",
        alt=f"{image.path or f'row {row}'}, {kind}",
        src=image.thumbnail.src,
        missing=image.thumbnail.missing,
        lines=lines,
    )


def _sizes(report: Report) -> list[Part]:
    drawn = len({size.layer for size in report.sizes.layers if size.dense})
    return [
        *([plots.sizes_figure(report)] if drawn else []),
        plots.sizes_table(report),
        floor_method(),
    ]


def _rejects(report: Report) -> list[Part]:
    rejects = report.rejects
    more = rejects.count - len(rejects.first)
    return [
        [f"{reason}: {count:,}" for reason, count in rejects.reasons.items()],
        Table(
            caption="Images that could not be read"
            + (f"; {more:,} more are not shown" if more else ""),
            columns=("path", "reason"),
            rows=rejects.first,
            left=2,
        ),
    ]


def _provenance(report: Report) -> list[Part]:
    settings, provenance = settings_rows(report), provenance_rows(report)
    parts: list[Part] = []
    main = main_rows(settings, provenance)
    if main:
        parts.append(Table(caption="Model and settings", columns=(), rows=main, left=2))
    whole = [
        Table(caption=caption, columns=(), rows=rows, left=2)
        for caption, rows in (
            ("Settings of all rows", settings),
            (f"Provenance recorded in {counted(report.n_parts, 'part')}", provenance),
        )
        if rows
    ]
    return [*parts, Details(summary="All settings and provenance", parts=whole)]
