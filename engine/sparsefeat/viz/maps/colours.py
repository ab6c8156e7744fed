"""Colour maps that colour-blind people can read, and a grey for zero that none of them contains."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Colours = Literal["signed", "positive", "negative"]

ZERO = "#b8b8b8"
"""The colour of exact zeros."""

# Light colours are near zero, dark ones far from it. Tests simulate colour-blind vision: no colour
# comes near the grey of zero, and blue and red can be told apart.
_BLUES = ("#f3f8fd", "#cfe4f4", "#7fb8dd", "#3a87c0", "#14579a", "#072b5f")
_REDS = ("#fff6ef", "#fddbc2", "#f8a97c", "#e26a43", "#b32a26", "#650a1e")
# Yellow to violet, so that small values stand out from the grey of zero.
_HEAT = ("#fff3b2", "#fed070", "#fb9f4f", "#ec6a4e", "#c73d63", "#8c2677", "#4b1a6f", "#1d1147")

STOPS: dict[Colours, tuple[str, ...]] = {
    "signed": (*reversed(_BLUES), *_REDS),
    "positive": _HEAT,
    "negative": (*reversed(_BLUES),),
}
"""Colours from the lowest value to the highest: -limit to limit, 0 to limit, or -limit to 0."""


def extent(colours: Colours, limit: float) -> tuple[float, float]:
    """Return the values at the two ends of a colour map.

    >>> extent("signed", 2.0)
    (-2.0, 2.0)
    """
    return (0.0 if colours == "positive" else -limit, 0.0 if colours == "negative" else limit)


def paint(values: npt.NDArray[np.float32], colours: Colours, limit: float) -> npt.NDArray[np.uint8]:
    """Colour a map; exact zeros are grey.

    Parameters
    ----------
    values
        float32 (H, W).

    Returns
    -------
    uint8 (H, W, 3), RGB.
    """
    low, high = extent(colours, limit)
    palette = interpolated(STOPS[colours])
    indices = (values.astype(np.float64) - low) / (high - low) * (len(palette) - 1)
    painted = palette[np.clip(np.rint(indices), 0, len(palette) - 1).astype(np.intp)]
    painted[values == 0] = rgb(ZERO)
    return painted


def interpolated(stops: tuple[str, ...], n: int = 256) -> npt.NDArray[np.uint8]:
    """Return `n` colours at equal distances along the stops, uint8 (n, 3)."""
    corners = np.array([rgb(stop) for stop in stops], np.float64)
    along = np.linspace(0, len(stops) - 1, n)
    channels = [np.interp(along, range(len(stops)), corners[:, i]) for i in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour such as #ff8000, 0 to 255.

    >>> rgb("#ff8000")
    (255, 128, 0)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
