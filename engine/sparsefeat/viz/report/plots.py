"""Draws a report's plots, and makes tables with the same numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.analysis import LayerZeros
from sparsefeat.system import format_bytes, percent
from sparsefeat.viz.pages import Figure, Table
from sparsefeat.viz.report.report import Report

if TYPE_CHECKING:
    import plotly.graph_objects as go

INK, BLUE, PALE, ORANGE = "#1c2530", "#2f6fb7", "#c3d8ef", "#b8590a"
MAP_CELLS = 56  # along each side of a spatial map; larger layers are averaged

# Positions of the bars of an activity histogram: never, ten tenths, always.
_CENTRES = [-9.0, *(10.0 * tenth + 5 for tenth in range(10)), 109.0]
_BINS = [
    "none",
    *(f"{10 * tenth} to {10 * tenth + 10} %" for tenth in range(10)),
    "all",
]


def layers_figure(report: Report) -> Figure:
    """Draw the share of zeros of each layer, with its spread over images."""
    import plotly.graph_objects as go

    names = list(report.zeros)
    spreads = [zeros.spread for zeros in report.zeros.values()]
    means = [100 * (spread.mean or 0.0) for spread in spreads]
    hover = [
        f"{name}<br>mean {percent(s.mean)}<br>half of the images {percent(s.lower_quartile)} "
        f"to {percent(s.upper_quartile)}<br>all {percent(s.min)} to {percent(s.max)}"
        for name, s in zip(names, spreads, strict=True)
    ]
    figure = go.Figure()
    figure.add_bar(
        orientation="h",
        x=means,
        y=names,
        marker_color=PALE,
        hovertext=hover,
        hoverinfo="text",
        name="mean",
        width=0.7,
    )
    for low, high, width, name in (
        ("min", "max", 1.5, "all images"),
        ("lower_quartile", "upper_quartile", 7, "middle half"),
    ):
        x: list[float | None] = []
        y: list[str | None] = []
        for layer, spread in zip(names, spreads, strict=True):
            x += [100 * getattr(spread, low), 100 * getattr(spread, high), None]
            y += [layer, layer, None]
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": BLUE if width > 2 else INK, "width": width},
            name=name,
            hoverinfo="skip",
        )
    for name, zeros in report.zeros.items():
        figure.add_annotation(
            text=percent(zeros.sparsity), x=1, xref="paper", xanchor="left", y=name, showarrow=False
        )
    lay_out(figure, height=100 + 34 * len(names))
    figure.update_layout(margin_r=64)
    figure.update_xaxes(range=[0, 100.5], ticksuffix=" %", title="share of zeros")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], ticksuffix="  ")
    spoken = ", ".join(f"{name} {percent(zeros.sparsity)}" for name, zeros in report.zeros.items())
    return Figure(
        caption="A bar and its number show the mean over images. The thick line spans the middle "
        "half of the images, the thin line all of them.",
        description=f"Bars of the share of zeros in each layer: {spoken}",
        plot=figure,
    )


def layers_table(report: Report) -> Table:
    """Return the numbers of `layers_figure`."""
    rows = []
    for name, zeros in report.zeros.items():
        s = zeros.spread
        numbers = (s.mean, s.std, s.min, s.lower_quartile, s.median, s.upper_quartile, s.max)
        rows.append((name, "x".join(map(str, zeros.shape)), *map(percent, numbers)))
    return Table(
        caption="Share of zeros of the images",
        columns=(
            *("layer", "shape", "mean", "standard deviation", "minimum"),
            *("lower quartile", "median", "upper quartile", "maximum"),
        ),
        rows=rows,
    )


def activity_counts(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Count shares of exactly 0, in each tenth between 0 and 1, and of exactly 1: int64 (12,)."""
    tenths = np.clip(np.floor(shares * 10).astype(int), 0, 9) + 1
    bins = np.where(shares <= 0, 0, np.where(shares >= 1, 11, tenths))
    return np.bincount(bins, minlength=12)


def activity_figure(report: Report, *, images: bool) -> Figure:
    """Draw the share of images, or of positions, in which channels are active; a row per layer."""
    from plotly.subplots import make_subplots

    shown = {name: _activity(zeros, images=images) for name, zeros in report.zeros.items()}
    what = "images" if images else "positions"
    figure = make_subplots(
        rows=len(shown),
        cols=1,
        shared_xaxes=True,
        subplot_titles=list(shown),
        vertical_spacing=0.32 / max(len(shown), 1) if len(shown) > 1 else 0,
    )
    for row, (name, counts) in enumerate(shown.items(), start=1):
        n_channels = report.zeros[name].layer.n_channels
        figure.add_bar(
            x=_CENTRES,
            y=counts.tolist(),
            width=9,
            marker_color=[ORANGE, *[BLUE] * 10, INK],
            customdata=_BINS,
            hovertemplate=f"{name}: %{{y}} of {n_channels:,} channels,<br>"
            f"active in %{{customdata}} of the {what}<extra></extra>",
            row=row,
            col=1,
        )
    lay_out(figure, height=70 + 105 * len(shown))
    figure.update_layout(showlegend=False, margin_t=34, margin_l=44, bargap=0)
    figure.update_xaxes(
        range=[-16, 116],
        tickvals=[-9, 25, 50, 75, 109],
        ticktext=["none", "25", "50 %", "75", "all"],
        showgrid=False,
    )
    figure.update_xaxes(title=f"share of {what}", row=len(shown), col=1)
    figure.update_yaxes(nticks=3, rangemode="tozero", automargin=False)
    figure.update_annotations(font_size=13, x=0, xanchor="left")
    parts = [f"{name}: {counts[0]} in none, {counts[11]} in all" for name, counts in shown.items()]
    return Figure(
        caption=f"Number of channels by the share of {what} in which they are active.",
        description=f"Histograms of channels by the share of {what} in which they are active; "
        + "; ".join(parts),
        plot=figure,
    )


def activity_table(report: Report, *, images: bool) -> Table:
    """Return the numbers of `activity_figure`."""
    what = "images" if images else "positions"
    return Table(
        caption=f"Channels by the share of {what} in which they are active",
        columns=("layer", *_BINS),
        rows=[
            (name, *(f"{n:,}" for n in _activity(zeros, images=images).tolist()))
            for name, zeros in report.zeros.items()
        ],
    )


def map_figure(name: str, shares: npt.NDArray[np.float64]) -> Figure:
    """Draw the share of zeros at each position, float64 (H, W), averaged over blocks if large."""
    import plotly.graph_objects as go

    step = max(1, -(-max(shares.shape) // MAP_CELLS))
    cells = block_means(shares, step)
    figure = go.Figure()
    figure.add_heatmap(
        z=np.round(100 * cells, 2).astype(np.float32),
        colorscale="Blues",
        colorbar={"thickness": 9, "ticksuffix": " %", "nticks": 5, "outlinewidth": 0},
        x=[*range(0, shares.shape[1], step)],
        y=[*range(0, shares.shape[0], step)],
        hovertemplate="row %{y}, column %{x}: %{z:.1f} %<extra></extra>",
    )
    lay_out(figure, height=230)
    figure.update_layout(margin={"l": 4, "r": 4, "t": 6, "b": 4}, showlegend=False)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(
        visible=False, autorange="reversed", scaleanchor="x", constrain="domain", automargin=False
    )
    height, width = shares.shape
    averaged = f", averaged over {step}x{step}" if step > 1 else ""
    return Figure(
        caption=f"{name}, {height}x{width} positions{averaged}: {percent(float(shares.min()))} to "
        f"{percent(float(shares.max()))}",
        description=f"Map of the share of zeros at each position of {name}, from "
        f"{percent(float(shares.min()))} to {percent(float(shares.max()))}",
        plot=figure,
    )


def maps_table(maps: dict[str, npt.NDArray[np.float64]]) -> Table:
    """Return the extremes of the maps, and the means of their border and inside."""
    rows = []
    for name, shares in maps.items():
        inner = shares[1:-1, 1:-1]
        border = (shares.sum() - inner.sum()) / max(1, shares.size - inner.size)
        least = np.unravel_index(int(shares.argmin()), shares.shape)
        most = np.unravel_index(int(shares.argmax()), shares.shape)
        rows.append(
            (
                name,
                percent(float(border)),
                percent(float(inner.mean())) if inner.size else "-",
                f"{percent(float(shares.min()))} ({least[0]}, {least[1]})",
                f"{percent(float(shares.max()))} ({most[0]}, {most[1]})",
            )
        )
    return Table(
        caption="Share of zeros by position: mean of the border (outermost rows and columns), mean "
        "of the inside, and the extremes with their (row, column)",
        columns=("layer", "border", "inside", "minimum", "maximum"),
        rows=rows,
    )


def block_means(shares: npt.NDArray[np.float64], step: int) -> npt.NDArray[np.float64]:
    """Average blocks of `step` x `step` positions; the last ones may be smaller."""
    starts = [np.arange(0, extent, step) for extent in shares.shape]
    sums = np.add.reduceat(np.add.reduceat(shares, starts[0], axis=0), starts[1], axis=1)
    extents = [
        np.diff([*start, extent]) for start, extent in zip(starts, shares.shape, strict=True)
    ]
    return np.asarray(sums / np.outer(*extents))


def sizes_figure(report: Report) -> Figure:
    """Draw the bytes of layers, as a share of dense float32."""
    import plotly.graph_objects as go

    sizes = report.sizes.layers
    kinds: list[tuple[str, str, list[int | None]]] = [
        ("CSR, uncompressed", "#8a96a3", [size.csr for size in sizes]),
        ("stored", BLUE, [size.stored for size in sizes]),
        ("floor (estimate)", ORANGE, [size.floor.n_bytes for size in sizes]),
    ]
    figure = go.Figure()
    for name, colour, counts in kinds:
        shares = [
            None if count is None else 100 * count / size.dense
            for count, size in zip(counts, sizes, strict=True)
        ]
        figure.add_bar(
            orientation="h",
            name=name,
            x=shares,
            y=[size.layer for size in sizes],
            marker_color=colour,
            hovertext=[
                ""
                if count is None
                else f"{size.layer}, {name}: {format_bytes(count)}, "
                f"{percent(count / size.dense)} of dense"
                for count, size in zip(counts, sizes, strict=True)
            ],
            hoverinfo="text",
        )
    figure.add_vline(x=100, line={"color": INK, "width": 1, "dash": "dot"})
    lay_out(figure, height=120 + 58 * len(sizes))
    figure.update_layout(barmode="group", bargap=0.3, legend_traceorder="normal")
    figure.update_xaxes(title="share of dense float32", ticksuffix=" %", rangemode="tozero")
    # plotly draws the bars of a group upwards; the reversed axis makes them follow the legend.
    figure.update_yaxes(
        categoryorder="array", categoryarray=[size.layer for size in sizes], ticksuffix="  "
    )
    figure.update_yaxes(autorange="reversed")
    spoken = ", ".join(f"{size.layer} {percent(size.stored / size.dense)}" for size in sizes)
    return Figure(
        caption="The dotted line is dense float32. A shorter bar takes fewer bytes.",
        description=f"Bars of the bytes of layers, as a share of dense float32; stored: {spoken}",
        plot=figure,
    )


def sizes_table(report: Report) -> Table:
    """Return the numbers of `sizes_figure`, and the bytes of the rest of the store."""
    sizes = report.sizes
    rows = [
        (
            size.layer,
            size.encoding,
            format_bytes(size.dense),
            format_bytes(size.csr),
            format_bytes(size.stored),
            percent(size.stored / size.dense if size.dense else None),
            _floor(size.floor.n_bytes),
            "-" if size.floor.value_bits is None else f"{size.floor.value_bits:.1f}",
        )
        for size in sizes.layers
    ]
    floors = [size.floor.n_bytes for size in sizes.layers]
    dense, stored = (
        sum(size.dense for size in sizes.layers),
        sum(size.stored for size in sizes.layers),
    )
    if len(rows) > 1:
        rows.append(
            (
                "all of these layers",
                "",
                format_bytes(dense),
                format_bytes(sum(size.csr for size in sizes.layers)),
                format_bytes(stored),
                percent(stored / dense if dense else None),
                _floor(None if None in floors else sum(filter(None, floors))),
                "",
            )
        )
    blank = ("", "", "")
    if sizes.others:
        others = f"other layers ({sizes.others})"
        rows.append((others, *blank, format_bytes(sizes.others_stored), *blank))
    rows.append(("tables, counts, metadata", *blank, format_bytes(sizes.tables), *blank))
    rows.append(("the whole store", *blank, format_bytes(sizes.total), *blank))
    return Table(
        caption="Bytes of each layer: as dense float32; as CSR in memory (float32 values, int32 "
        "indices); on disk; the floor, and its bits for each non-zero value",
        columns=(
            *("layer", "encoding", "dense", "CSR", "on disk"),
            *("of dense", "floor (estimate)", "bits per value"),
        ),
        rows=rows,
        left=2,
    )


def _floor(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else format_bytes(n_bytes)


def _activity(zeros: LayerZeros, *, images: bool) -> npt.NDArray[np.int64]:
    if images:
        assert zeros.active_rows is not None
        return activity_counts(zeros.active_rows / zeros.n_rows)
    return activity_counts(1 - zeros.per_channel / (zeros.n_rows * zeros.n_positions))


def lay_out(figure: "go.Figure", *, height: int) -> None:
    """Give a plot the page's style; on a touch screen, a finger scrolls the page."""
    options: dict[str, Any] = {
        "template": "none",
        "height": height,
        "margin": {"l": 4, "r": 16, "t": 40, "b": 52},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "font": {
            "size": 13,
            "color": INK,
            "family": "system-ui, Segoe UI, Roboto, Arial, sans-serif",
        },
        "dragmode": False,
        "hoverlabel": {"font_size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    figure.update_layout(**options)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(
            automargin=True,
            fixedrange=True,
            gridcolor="#dfe4ea",
            zeroline=False,
            title_font_size=13,
        )
