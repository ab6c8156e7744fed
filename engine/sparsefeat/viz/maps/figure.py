"""Maps as a plotly figure, one small plot for each channel and panel."""

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.errors import InputError
from sparsefeat.system import importing, one_line, percent
from sparsefeat.viz.maps.arrays import MapArrays, Panel, Scale
from sparsefeat.viz.maps.colours import STOPS, ZERO, extent

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_CHANNELS = 32  # more axes than these make plotly slow
MAX_BYTES = 15_000_000  # of JSON, as for a page
# Base64 of a place's value, 4 bytes, and of the grey below it, 1 byte. plotly writes each "/" as an
# escape of 6 characters; what isn't a number, where a zero is, has one in 16.
POSITION_BYTES = 4 * 4 / 3 * 21 / 16 + 4 / 3
PLOT_BYTES = 4000  # of a plot's two traces, axes and name in words
# In pixels: a plot, what is written above it, and a scale.
CELL = 190
LABEL = 24
BAR = 85


def draw_figure(maps: MapArrays, *, scale: Scale, relu_split: bool) -> "go.Figure":
    """Draw the maps; see `FeatureMaps.figure`."""
    with importing("plotly", "pip install 'sparsefeat[viz]'", purpose="figures are made with it"):
        import plotly.graph_objects as go
    height, width, n = maps.shape
    if n > MAX_CHANNELS:
        raise InputError(
            f"got {n} channels for one figure, expected at most {MAX_CHANNELS}; choose fewer, for "
            f"example channels='top:16', or take .html(), which holds all of them"
        )
    panels = maps.panels(relu_split=relu_split)
    _check_size(maps, len(panels))
    groups_across = min(n, max(1, 4 // len(panels)))
    across, down = groups_across * len(panels), -(-n // groups_across)
    figure = go.Figure()
    for index in range(n):
        for at, panel in enumerate(panels):
            number = index * len(panels) + at + 1
            column = index % groups_across * len(panels) + at
            bar = _bar(panel, at, across * CELL) if scale == "shared" and index == 0 else None
            _add(figure, maps, panel, index, number, scale, bar)
            _place(figure, maps, number, column, index // groups_across, across, down)
            _name(figure, maps, panel, index, number, first=at == 0)
    cell_height = max(40, round(CELL * height / width))
    right = BAR * len(panels) if scale == "shared" else 20
    figure.update_layout(
        template="plotly_white",
        width=20 + across * CELL + right,
        height=50 + down * (cell_height + LABEL),
        margin={"l": 20, "r": right, "t": 40, "b": 10},
        title={
            "text": _plain(f"{maps.layer}, {maps.image or 'an image'}"),
            "font": {"size": 15},
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 8},
        },
        font={"size": 11, "color": "#1c2530"},
        hovermode="closest",
    )
    return figure


def _check_size(maps: MapArrays, n_panels: int) -> None:
    """Refuse what would be too much for a browser to take at once."""
    height, width, n = maps.shape
    of_a_channel = n_panels * (height * width * POSITION_BYTES + PLOT_BYTES)
    if n * of_a_channel <= MAX_BYTES:
        return
    fitting = int(MAX_BYTES // of_a_channel)
    fewer = f"choose fewer, for example channels='top:{fitting}', or " if fitting else ""
    plots = f"{n_panels} plots each" if n_panels > 1 else "a plot each"
    raise InputError(
        f"{n} channels of {height}x{width}, {plots}, make a figure of "
        f"{n * of_a_channel / 1e6:.1f} MB, expected at most {MAX_BYTES / 1e6:.0f} MB; {fewer}"
        "take .html(), which holds more, or .png(), which holds any"
    )


def _plain(text: str) -> str:
    """Write text so that plotly takes none of it for markup or, with MathJax, for a formula."""
    return html.escape(one_line(text), quote=False).replace("$", "&#36;")


def _add(
    figure: "go.Figure",
    maps: MapArrays,
    panel: Panel,
    index: int,
    number: int,
    scale: Scale,
    bar: dict[str, Any] | None,
) -> None:
    """Add a map: grey, one byte for each place, and above it in colours what isn't zero."""
    values = panel.values[..., index]
    low, high = extent(panel.colours, panel.limit(index, scale))
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}", "hoverongaps": False}
    where = f"channel {maps.channels[index]}, {panel.title}<br>row %{{y}}, column %{{x}}<br>"
    figure.add_heatmap(
        z=np.zeros(values.shape, np.uint8),
        zmin=0,
        zmax=1,
        colorscale=[[0, ZERO], [1, ZERO]],
        showscale=False,
        hovertemplate=f"{where}<b>0 (exactly)</b><extra></extra>",
        **axes,
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
        **axes,
    )


def _bar(panel: Panel, at: int, width: int) -> dict[str, Any]:
    """Place the scale that all channels share to the right of the plots, `width` pixels wide."""
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


def _place(
    figure: "go.Figure",
    maps: MapArrays,
    number: int,
    column: int,
    row: int,
    across: int,
    down: int,
) -> None:
    height, width, _ = maps.shape
    cell_height = max(40, round(CELL * height / width))
    gap_x, gap_y = 0.06 / across, LABEL / (down * (cell_height + LABEL))
    hidden: dict[str, Any] = {"showticklabels": False, "showgrid": False, "zeroline": False}
    shared_x = {} if number == 1 else {"matches": "x"}
    shared_y = {} if number == 1 else {"matches": "y"}
    figure.update_layout(
        {
            f"xaxis{number}": {
                "domain": [column / across + gap_x, (column + 1) / across],
                "anchor": f"y{number}",
                "range": [-0.5, width - 0.5],
                **hidden,
                **shared_x,
            },
            f"yaxis{number}": {
                "domain": [1 - (row + 1) / down, 1 - row / down - gap_y],
                "anchor": f"x{number}",
                "range": [height - 0.5, -0.5],
                **hidden,
                **shared_y,
            },
        }
    )


def _name(
    figure: "go.Figure", maps: MapArrays, panel: Panel, index: int, number: int, *, first: bool
) -> None:
    text = f"<b>{maps.channels[index]}</b> {panel.title}" if first else panel.title
    if not first and maps.clipped is not None:
        text += f", {percent(maps.clipped[index])} clipped".replace("<", "&lt;")
    figure.add_annotation(
        text=text,
        x=0,
        y=1,
        xref=f"x{number if number > 1 else ''} domain",
        yref=f"y{number if number > 1 else ''} domain",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"size": 11},
    )
