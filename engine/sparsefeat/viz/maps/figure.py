"""Draws feature maps as a plotly figure, one small plot for each channel and panel."""

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.errors import InputError
from sparsefeat.system import importing, one_line, percent
from sparsefeat.viz.maps.arrays import MapArrays, Panel, Scale
from sparsefeat.viz.maps.colours import STOPS, ZERO, extent

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_PLOTS = 128  # a browser takes about 4 s to draw them
MAX_BYTES = 15_000_000  # of JSON, as for a page
# Base64 of a position's value, 4 bytes, and of the grey below it, 1 byte. plotly writes each "/" as
# an escape of 6 characters. In the base64 of NaN, which replaces zeros, one character in 16 is "/".
POSITION_BYTES = 4 * 4 / 3 * 21 / 16 + 4 / 3
PLOT_BYTES = 4000  # JSON of a plot's two traces, axes and label
MANY_CHANNELS = 16  # above this number plots are smaller, eight in a row
LABEL = 24  # pixels above a plot
BAR = 85  # pixels that a colour scale takes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grid:
    """How plots are arranged: sizes in pixels, and which rows and columns of a map are drawn."""

    across: int  # plots in a row
    down: int
    cell_width: int
    cell_height: int
    is_small: bool
    stride: int  # each plot shows every `stride`th row and column

    @classmethod
    def of(cls, maps: MapArrays, n_panels: int) -> "_Grid":
        height, width, n = maps.shape
        is_small = n > MANY_CHANNELS
        channels_across = min(n, max(1, (8 if is_small else 4) // n_panels))
        cell_width = 120 if is_small else 190
        return cls(
            across=channels_across * n_panels,
            down=-(-n // channels_across),
            cell_width=cell_width,
            cell_height=max(40, round(cell_width * height / width)),
            is_small=is_small,
            stride=_fitting_stride(height, width, n * n_panels),
        )


def draw_figure(maps: MapArrays, *, scale: Scale, relu_split: bool) -> "go.Figure":
    """Draw the maps; see `FeatureMaps.figure`."""
    with importing("plotly", "pip install 'sparsefeat[viz]'", purpose="figures are made with it"):
        import plotly.graph_objects as go
    n = maps.shape[-1]
    panels = maps.panels(relu_split=relu_split)
    if n * len(panels) > MAX_PLOTS:
        each = f", {len(panels)} plots each" if len(panels) > 1 else ""
        most = MAX_PLOTS // len(panels)
        raise InputError(
            f"got {n} channels for one figure{each}, expected at most {most}; choose fewer, for "
            f"example channels='top:{most}', or call .html(), which shows any number of channels"
        )
    grid = _Grid.of(maps, len(panels))
    figure = go.Figure()
    for index in range(n):
        for at, panel in enumerate(panels):
            number = index * len(panels) + at + 1
            bar = None
            if scale == "shared" and index == 0:
                bar = _bar(panel, at, grid.across * grid.cell_width)
            _add(figure, maps, panel, index, number, scale, grid, bar)
            _arrange(figure, maps, number, grid)
            _label(figure, maps, panel, index, number, is_first=at == 0, is_short=grid.is_small)
    right = BAR * len(panels) if scale == "shared" else 20
    thinned = f", every {_ordinal(grid.stride)} row and column" if grid.stride > 1 else ""
    figure.update_layout(
        template="plotly_white",
        width=20 + grid.across * grid.cell_width + right,
        height=50 + grid.down * (grid.cell_height + LABEL),
        margin={"l": 20, "r": right, "t": 40, "b": 10},
        title={
            "text": _plain(f"{maps.layer}, {maps.image or 'an image'}{thinned}"),
            "font": {"size": 15},
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 8},
        },
        font={"size": 10 if grid.is_small else 11, "color": "#1c2530"},
        hovermode="closest",
    )
    return figure


def _fitting_stride(height: int, width: int, n_plots: int) -> int:
    """Return the smallest stride with which the figure has at most `MAX_BYTES`."""
    stride = 1
    while True:
        positions = -(-height // stride) * -(-width // stride)
        if n_plots * (positions * POSITION_BYTES + PLOT_BYTES) <= MAX_BYTES:
            return stride
        stride += 1


def _ordinal(number: int) -> str:
    return f"{number}{({2: 'nd', 3: 'rd'}).get(number, 'th')}"


def _plain(text: str) -> str:
    """Escape what plotly would read as markup or, with MathJax, as a formula."""
    return html.escape(one_line(text), quote=False).replace("$", "&#36;")


def _add(
    figure: "go.Figure",
    maps: MapArrays,
    panel: Panel,
    index: int,
    number: int,
    scale: Scale,
    grid: _Grid,
    bar: dict[str, Any] | None,
) -> None:
    """Add a map as two layers: grey everywhere, 1 byte per position; above it the non-zeros."""
    values = panel.values[:: grid.stride, :: grid.stride, index]
    low, high = extent(panel.colours, panel.limit(index, scale))
    common = {"xaxis": f"x{number}", "yaxis": f"y{number}", "hoverongaps": False}
    common |= {"x0": 0, "dx": grid.stride, "y0": 0, "dy": grid.stride}
    where = f"channel {maps.channels[index]}, {panel.title}<br>row %{{y}}, column %{{x}}<br>"
    figure.add_heatmap(
        z=np.zeros(values.shape, np.uint8),
        zmin=0,
        zmax=1,
        colorscale=[[0, ZERO], [1, ZERO]],
        showscale=False,
        hovertemplate=f"{where}<b>0 (exactly)</b><extra></extra>",
        **common,
    )
    stops = STOPS[panel.colours]
    figure.add_heatmap(
        z=np.where(values == 0, np.float32(np.nan), values),
        zmin=low,
        zmax=high,
        colorscale=[[i / (len(stops) - 1), stop] for i, stop in enumerate(stops)],
        showscale=bar is not None,
        colorbar=bar,
        hovertemplate=f"{where}<b>%{{z:.3~g}}</b><extra></extra>",
        **common,
    )


def _bar(panel: Panel, at: int, width: int) -> dict[str, Any]:
    """Put the colour scale that all channels share to the right of the plots, `width` pixels."""
    return {
        "title": {"text": panel.title, "side": "right"},
        "x": 1 + (10 + BAR * at) / width,
        "xanchor": "left",
        "xpad": 0,
        "thickness": 10,
        "outlinewidth": 0,
        "lenmode": "pixels",
        "len": 190,
        "y": 1,
        "yanchor": "top",
    }


def _arrange(figure: "go.Figure", maps: MapArrays, number: int, grid: _Grid) -> None:
    """Place plot `number`, counted from 1, in its cell of the grid, and set its axes."""
    height, width, _ = maps.shape
    row, column = divmod(number - 1, grid.across)
    gap_x = 0.06 / grid.across
    gap_y = LABEL / (grid.down * (grid.cell_height + LABEL))
    first, last_x, last_y = (
        -grid.stride / 2,
        (width - 1) // grid.stride * grid.stride + grid.stride / 2,
        (height - 1) // grid.stride * grid.stride + grid.stride / 2,
    )
    hidden: dict[str, Any] = {"showticklabels": False, "showgrid": False, "zeroline": False}
    shared_x = {} if number == 1 else {"matches": "x"}
    shared_y = {} if number == 1 else {"matches": "y"}
    figure.update_layout(
        {
            f"xaxis{number}": {
                "domain": [column / grid.across + gap_x, (column + 1) / grid.across],
                "anchor": f"y{number}",
                "range": [first, last_x],
                **hidden,
                **shared_x,
            },
            f"yaxis{number}": {
                "domain": [1 - (row + 1) / grid.down, 1 - row / grid.down - gap_y],
                "anchor": f"x{number}",
                "range": [last_y, first],
                **hidden,
                **shared_y,
            },
        }
    )


def _label(
    figure: "go.Figure",
    maps: MapArrays,
    panel: Panel,
    index: int,
    number: int,
    *,
    is_first: bool,
    is_short: bool,
) -> None:
    """Write the channel's number, the panel's title and the clipped share above a plot."""
    text = f"<b>{maps.channels[index]}</b> {panel.title}" if is_first else panel.title
    if not is_first and maps.clipped is not None:
        share = f"{percent(maps.clipped[index])} clipped".replace("<", "&lt;")
        text = share if is_short else f"{text}, {share}"
    figure.add_annotation(
        text=text,
        x=0,
        y=1,
        xref=f"x{number if number > 1 else ''} domain",
        yref=f"y{number if number > 1 else ''} domain",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"size": 10 if is_short else 11},
    )
