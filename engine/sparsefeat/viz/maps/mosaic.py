"""Draws feature maps as a PNG file: the image, and all channels beside it."""

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.system import importing, percent
from sparsefeat.viz.maps.arrays import MapArrays, Panel, Scale
from sparsefeat.viz.maps.colours import STOPS, ZERO, extent, paint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 1600  # pixels of the grid of maps
DPI = 100
LABEL = 22
GAP = 10
MARGIN = 24
PHOTO = 260
MAX_TILE_HEIGHT = 4000  # limits a map that is much higher than wide
MAX_SIDE = 60_000  # Agg can't draw 65,536 pixels or more


def draw_png(maps: MapArrays, *, scale: Scale, relu_split: bool) -> bytes:
    """Draw the maps; see `FeatureMaps.png`."""
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = maps.panels(relu_split=relu_split)
    grid = _Grid(maps, len(panels))
    top, width = 56, 3 * MARGIN + PHOTO + grid.width
    height = top + max(grid.height, PHOTO + 150 + 70 * len(panels)) + MARGIN
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"{maps.shape[2]} channels of {maps.shape[0]}x{maps.shape[1]} make a PNG of "
            f"{width}x{height} pixels, expected at most {MAX_SIDE} in width and height: choose "
            "fewer channels, for example --channels top:16"
        )
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def axes(x: float, y: float, w: float, h: float) -> "Axes":
        """Add axes at a position in pixels from the upper left."""
        made = figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))
        made.set_axis_off()
        return made

    _title(figure, maps, height)
    rows, columns = maps.pixels.shape[:2]
    photo_height = min(PHOTO * rows / columns, height - top - 150)
    axes(MARGIN, top, PHOTO, photo_height).imshow(maps.pixels, aspect="auto")
    for at, panel in enumerate(panels):
        _bar(axes(MARGIN, top + photo_height + 40 + 62 * at, PHOTO, 14), panel, scale)
    _zero(axes(MARGIN, top + photo_height + 26 + 62 * len(panels), PHOTO, 16))
    _maps(axes(2 * MARGIN + PHOTO, top, grid.width, grid.height), maps, panels, grid, scale)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A name may have characters that the font lacks, which it draws as boxes.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def check_matplotlib() -> None:
    """Check that PNG files can be drawn, so that a command fails before it computes the maps.

    Raises
    ------
    DependencyError
        matplotlib isn't installed, or doesn't load.
    """
    install, purpose = "pip install 'sparsefeat[viz]'", "images are made with it"
    with importing("matplotlib", install, purpose=purpose):
        import matplotlib.backends.backend_agg
        import matplotlib.colors
        import matplotlib.figure
        import matplotlib.patches  # noqa: F401


class _Grid:
    """Sizes in pixels of one map and of the grid of all maps."""

    def __init__(self, maps: MapArrays, n_panels: int) -> None:
        rows, columns, n = maps.shape
        ratio = rows / columns
        # The grid fits one screen if it can; small maps are enlarged by whole numbers.
        self.across = min(n, max(1, round(math.sqrt(n * 1.5 * ratio / n_panels))))
        room = (WIDTH - GAP * (self.across - 1)) / self.across / n_panels - 2
        self.tile_width = max(1, int(room) // columns * columns if room > columns else int(room))
        self.tile_width = max(self.tile_width, min(columns, 40))
        self.tile_width = max(1, min(self.tile_width, int(MAX_TILE_HEIGHT / ratio)))
        self.tile_height = max(1, round(self.tile_width * ratio))
        self.cell_width = n_panels * self.tile_width + 2 * (n_panels - 1)
        self.step_x, self.step_y = self.cell_width + GAP, self.tile_height + LABEL + GAP
        self.width = self.across * self.step_x - GAP
        self.height = math.ceil(n / self.across) * self.step_y


def _maps(axes: "Axes", maps: MapArrays, panels: list[Panel], grid: _Grid, scale: Scale) -> None:
    canvas = np.full((grid.height, grid.width, 3), 255, np.uint8)
    shares = maps.zeros if maps.clipped is None else maps.clipped
    what = "zero" if maps.clipped is None else "clipped"
    wide = grid.cell_width > 130
    for index, channel in enumerate(maps.channels):
        x, y = index % grid.across * grid.step_x, index // grid.across * grid.step_y
        for at, panel in enumerate(panels):
            painted = paint(panel.values[..., index], panel.colours, panel.limit(index, scale))
            left = x + at * (grid.tile_width + 2)
            canvas[y + LABEL : y + LABEL + grid.tile_height, left : left + grid.tile_width] = (
                _resized(painted, grid.tile_height, grid.tile_width)
            )
        style: dict[str, Any] = {"fontsize": 8, "va": "center", "color": "#1c2530"}
        axes.text(x, y + LABEL / 2, str(channel), weight="bold", **style)
        if grid.cell_width > 80:
            share = percent(shares[index]) + f" {what}" * wide
            axes.text(x + grid.cell_width, y + LABEL / 2, share, ha="right", **style)
    axes.imshow(canvas, extent=(0, grid.width, grid.height, 0), aspect="auto", interpolation="none")


def _resized(painted: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    from PIL import Image

    enlarged = width >= painted.shape[1]
    how = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
    return np.asarray(Image.fromarray(painted).resize((width, height), how))


def _title(figure: "Figure", maps: MapArrays, height: int) -> None:
    x = MARGIN / (figure.get_figwidth() * DPI)
    style: dict[str, Any] = {"va": "center", "ha": "left"}
    figure.text(
        x, 1 - 18 / height, f"Feature maps of {maps.layer}", size=14, weight="bold", **style
    )
    said = maps.heading().replace("$", r"\$")
    figure.text(x, 1 - 40 / height, said, size=9, color="#55606e", **style)


def _bar(axes: "Axes", panel: Panel, scale: Scale) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("maps", list(STOPS[panel.colours]))
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=colours, aspect="auto", extent=(0, 1, 0, 1))
    low, high = extent(panel.colours, panel.shared_limit)
    ends = [f"{float(f'{end:.3g}'):,g}" for end in (low, high)]
    if scale == "channel":
        ends = ["0" if end == 0 else "own limit" for end in (low, high)]
    style: dict[str, Any] = {"size": 9, "color": "#1c2530"}
    axes.text(0, 1.35, panel.title, weight="bold", va="bottom", **style)
    axes.text(0, -0.3, ends[0].replace("-", "−"), va="top", ha="left", **style)
    axes.text(1, -0.3, ends[1], va="top", ha="right", **style)


def _zero(axes: "Axes") -> None:
    from matplotlib.patches import Rectangle

    axes.set_xlim(0, PHOTO)
    axes.set_ylim(0, 16)
    axes.add_patch(Rectangle((0, 1), 14, 14, facecolor=ZERO))
    axes.text(22, 8, "exactly 0", va="center", size=9, color="#1c2530")
