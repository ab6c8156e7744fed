"""Writes an interactive page of all channels; its script draws the maps that are in view."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.system import percent
from sparsefeat.viz.maps.arrays import TOP, MapArrays, Panel, Scale
from sparsefeat.viz.maps.codes import Packed, pack
from sparsefeat.viz.maps.colours import STOPS, ZERO
from sparsefeat.viz.pages import (
    Details,
    Part,
    Section,
    Table,
    Widget,
    check_installed,
    load_template,
    render_page,
)

FOLDER = Path(__file__).parent
MAX_BYTES = 15_000_000

CRITERIA_WORDS = {
    "energy": "energy is the mean of the squared activation over all positions.",
    "variance": "variance is that of the activation over all positions.",
    "contrast": "contrast is the mean absolute difference between neighbouring positions.",
    "selectivity": "selectivity is (a - r) / (a + r + m), from -1 to 1, where a is the channel's "
    "mean here, r its mean over the reference images, and m the mean of r over all channels.",
}


def render_maps(maps: MapArrays, *, scale: Scale, relu_split: bool) -> str:
    """Return the page as HTML that needs no other file and no network.

    Raises
    ------
    InputError
        The page would be larger than 15 MB, or an activation is infinite or NaN.
    DependencyError
        plotly or Jinja2 isn't installed, or doesn't load.
    """
    check_installed()
    panels = maps.panels(relu_split=relu_split)
    # First, because it raises if the page would be too large.
    packed = _packed(maps, panels)
    head = {
        "layer": maps.layer,
        "rows": maps.shape[0],
        "columns": maps.shape[1],
        "channels": maps.channels.tolist(),
        "scale": scale,
        "top": TOP,
        "zero": ZERO,
        "panels": [_described(panel) for panel in panels],
        # As text, so that shares are rounded in one place only.
        "zeros": [percent(share) for share in maps.zeros],
        "clipped": None if maps.clipped is None else [percent(share) for share in maps.clipped],
        "best": maps.best,
        "scores": None if maps.scores is None else maps.scores.tolist(),
        **{f"{source}_lowest": each.lowest for source, each in packed.items()},
    }
    style = (FOLDER / "maps.css").read_text(encoding="utf-8")
    first = load_template(FOLDER / "one.html.j2").render(image=_image(maps.pixels), maps=maps)
    second = load_template(FOLDER / "all.html.j2").render(
        head=head,
        packed=packed,
        script=(FOLDER / "maps.js").read_text(encoding="utf-8"),
    )
    reading: list[Part] = [_notes(maps, panels)]
    if maps.best is not None:
        reading.append(f"The best channels come first: {CRITERIA_WORDS[maps.best]}")
    page = render_page(
        f"Feature maps of {maps.layer}",
        [
            Section(title="One channel", parts=[Widget(html=first, style=style, plotly=True)]),
            Section(
                title=_all(maps),
                parts=[
                    Widget(html=second),
                    Details(summary="The same as a table", parts=[_table(maps)]),
                ],
            ),
            Section(title="How to read it", parts=reading),
        ],
        lead=maps.heading(),
    )
    if len(page.encode()) > MAX_BYTES:
        raise _too_large(maps)
    return page


def _notes(maps: MapArrays, panels: list[Panel]) -> list[str]:
    """Return sentences that explain the page."""
    sentences = [
        (
            "Grey means exactly zero; the colour scales contain no grey, and small activations "
            "are pale. Values are rounded to three significant digits, but only exact zeros are "
            "written as 0."
        ),
        (
            f"Each colour scale ends at the value below which {100 * TOP:g} % of the non-zero "
            "values lie. Larger values have the last colour; point at them, or enter their row "
            "and column, to read them."
        ),
    ]
    if maps.pre is not None:
        sentences.append(
            "A Keras layer of VGG16 contains its ReLU, so its output has no negative values. The "
            "values before ReLU are the layer's pre-activation, which the exported graph has as a "
            "tensor of its own."
        )
        sentences.append(
            "Clipped is the share of a channel's positions that are below 0 before ReLU and "
            "become 0."
        )
    elif not maps.rectified:
        sentences.append("This layer has no ReLU of its own, so only its output is shown.")
    if len(panels) > 1:
        titles = " and ".join(panel.title for panel in panels)
        sentences.append(f"The maps of a channel are, from left to right: {titles}.")
    return sentences


def _packed(maps: MapArrays, panels: list[Panel]) -> dict[str, Packed]:
    """Return the packed values of each source."""
    packed: dict[str, Packed] = {}
    for source in {panel.source: None for panel in panels}:
        values = maps.pre if source == "pre" else maps.post
        assert values is not None
        done = pack(values, most=MAX_BYTES - sum(len(each.text) for each in packed.values()))
        if done is None:
            raise _too_large(maps)
        packed[source] = done
    return packed


def _too_large(maps: MapArrays) -> InputError:
    height, width, n = maps.shape
    return InputError(
        f"{n} channels of {height}x{width} make a page of more than {MAX_BYTES / 1e6:.0f} MB, "
        f"expected at most {MAX_BYTES / 1e6:.0f} MB: choose fewer channels, for example "
        "--channels top:16"
    )


def _all(maps: MapArrays) -> str:
    n = maps.shape[2]
    if n == maps.n_channels:
        return f"All {n} channels"
    return f"{n} of {maps.n_channels} channels"


def _table(maps: MapArrays) -> Table:
    """Return the columns of `MapArrays.frame` as text."""
    frame = maps.frame()
    return Table(
        caption="Each channel, in the order above",
        columns=[str(name).replace("_", " ") for name in frame],
        rows=[
            [
                str(value)
                if name == "channel"
                else percent(value)
                if name in ("zeros", "clipped")
                else f"{value:.3g}"
                for name, value in zip(frame, line, strict=True)
            ]
            for line in frame.itertuples(index=False, name=None)
        ],
    )


def _described(panel: Panel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "source": panel.source,
        "part": panel.part,
        "colours": panel.colours,
        "stops": STOPS[panel.colours],
        "shared": panel.shared_limit,
        "limits": panel.limits.tolist(),
    }


def _image(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
