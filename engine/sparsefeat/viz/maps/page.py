"""One page for all channels: it needs nothing but itself, and draws what is looked at."""

import base64
import io
import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.system import percent
from sparsefeat.viz.maps.arrays import TOP, MapArrays, Panel, Scale
from sparsefeat.viz.maps.codes import pack
from sparsefeat.viz.maps.colours import STOPS, ZERO
from sparsefeat.viz.pages import (
    Details,
    Part,
    Section,
    Table,
    Widget,
    check_installed,
    render_page,
)

FOLDER = Path(__file__).parent
MAX_BYTES = 15_000_000

CRITERIA_WORDS = MappingProxyType(
    {
        "energy": "energy is the mean of the squared activation over all places.",
        "variance": "variance of the activation over all places.",
        "contrast": "contrast is the mean absolute difference between neighbouring places.",
        "selectivity": "selectivity is (a - r) / (a + r + m), from -1 to 1: a is the channel's "
        "mean here, r its mean over the reference set, m the mean of r over all channels.",
    }
)


def render_maps(maps: MapArrays, *, scale: Scale, relu_split: bool) -> str:
    """Write the page as HTML that stands alone.

    Raises
    ------
    InputError
        It would be larger than 15 MB, or an activation is no finite number.
    DependencyError
        plotly or Jinja2 isn't installed, or doesn't load.
    """
    check_installed()
    panels = maps.panels(relu_split=relu_split)
    # First of all, since it is found here what is too much for a page.
    packed, lowest = _packed(maps, panels)
    head = {
        "layer": maps.layer,
        "rows": maps.shape[0],
        "columns": maps.shape[1],
        "channels": maps.channels.tolist(),
        "scale": scale,
        "top": TOP,
        "zero": ZERO,
        "panels": [_described(panel) for panel in panels],
        # In words, so that a share is rounded in one place.
        "zeros": [percent(share) for share in maps.zeros],
        "clipped": None if maps.clipped is None else [percent(share) for share in maps.clipped],
        "best": maps.best,
        "scores": None if maps.scores is None else maps.scores.tolist(),
        **lowest,
    }
    style = (FOLDER / "maps.css").read_text(encoding="utf-8")
    first = _template("one.html.j2", image=_image(maps.pixels), name=maps.image, maps=maps)
    second = _template(
        "all.html.j2",
        head=_json(head),
        packed=packed,
        script=(FOLDER / "maps.js").read_text(encoding="utf-8"),
    )
    reading: list[Part] = [_notes(maps, panels)]
    if maps.best is not None:
        reading.append(f"Best first: {CRITERIA_WORDS[maps.best]}")
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
    """Say how to read what is shown."""
    sentences = [
        (
            "Grey is exactly zero, which no colour of the scales is: a small activation is pale, "
            "and still no zero. Values are rounded to three significant digits; a zero is only "
            "ever an exact one."
        ),
        (
            f"Each scale ends at the value that {100 * TOP:g} % of the values other than zero stay "
            "below; what is beyond has the scale's last colour, and hovering says its value."
        ),
    ]
    if maps.pre is not None:
        sentences.append(
            "Keras' layer has its ReLU inside: its output is already rectified, and applying "
            "ReLU to it changes nothing. What is before ReLU here is the pre-activation, from "
            "inside the graph."
        )
        sentences.append(
            "Clipped is the share of a channel's places that are below 0 before ReLU, and so "
            "become 0."
        )
    elif not maps.rectified:
        sentences.append("This layer has no ReLU of its own: its output is all there is to show.")
    if len(panels) > 1:
        titles = " and ".join(panel.title for panel in panels)
        sentences.append(f"Side by side, from left to right: {titles}.")
    return sentences


def _packed(maps: MapArrays, panels: list[Panel]) -> tuple[dict[str, str], dict[str, int]]:
    """Give the values that are sent, and their lowest decades."""
    packed: dict[str, str] = {}
    lowest: dict[str, int] = {}
    for source in {panel.source: None for panel in panels}:
        values = maps.pre if source == "pre" else maps.post
        assert values is not None
        done = pack(values, most=MAX_BYTES - sum(map(len, packed.values())))
        if done is None:
            raise _too_large(maps)
        packed[source] = done.text
        lowest[f"{source}_lowest"] = done.lowest
    return packed, lowest


def _too_large(maps: MapArrays) -> InputError:
    height, width, n = maps.shape
    return InputError(
        f"{n} channels of {height}x{width} make a page of more than {MAX_BYTES / 1e6:.0f} MB, "
        f"expected at most {MAX_BYTES / 1e6:.0f} MB; choose fewer with --channels, for example "
        "--channels top:16"
    )


def _all(maps: MapArrays) -> str:
    n = maps.shape[2]
    if n == maps.n_channels:
        return f"All {n} channels"
    return f"{n} of {maps.n_channels} channels"


def _table(maps: MapArrays) -> Table:
    """Give each channel's shares, and least, mean and largest activation, as text."""
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


def _template(file: str, **values: Any) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    for key in ("head", "script"):
        if key in values:
            values[key] = Markup(values[key])
    return environment.get_template(file).render(**values)


def _json(value: Any) -> str:
    """Write JSON that no text in it can end the script around."""
    return json.dumps(value).replace("<", "\\u003c")


def _image(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
