"""What is said beside the maps."""

from types import MappingProxyType
from typing import TYPE_CHECKING

from sparsefeat.viz.maps.panels import TOP, Panel

if TYPE_CHECKING:
    from sparsefeat.viz.maps.result import FeatureMaps

CRITERIA_WORDS = MappingProxyType(
    {
        "energy": "energy is the mean of the squared activation over all places.",
        "variance": "variance of the activation over all places.",
        "contrast": "contrast is the mean absolute difference between neighbouring places.",
        "selectivity": "selectivity is (a - r) / (a + r + m), from -1 to 1: a is the channel's "
        "mean here, r its mean over the reference set, m the mean of r over all channels.",
    }
)


def printable(text: str) -> str:
    r"""Write what doesn't print, such as a line's end in a file's name, as an escape.

    Examples
    --------
    >>> printable("two\nlines, été")
    'two\\nlines, été'
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def heading(maps: "FeatureMaps") -> str:
    """Say what is shown, in one line."""
    height, width, n = maps.shape
    shown = f"all {n}" if n == maps.n_channels else f"{n} of {maps.n_channels}"
    model = maps.settings["model"]
    rows, columns = maps.settings["size"]
    order = f", best {maps.best} first" if maps.best else ""
    return (
        f"{printable(maps.picture) or 'a picture'} · {shown} channels of {height}×{width}{order} · "
        f"{model['architecture'].upper()} {model['precision']}, weights "
        f"{model['weights_sha256'][:12]} · preprocessing {maps.settings['preprocess']['name']}, "
        f"{rows}×{columns}"
    )


def notes(maps: "FeatureMaps", panels: list[Panel]) -> list[str]:
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
