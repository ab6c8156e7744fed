"""An input that anyone can compute, and a few numbers of what each tensor makes of it.

A model file carries the numbers, so that a session can prove at its start which precision it
really computes in, without a photograph at hand.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

N_CHANNELS = 8


def probe_pixels(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Make the probe's picture: uint8 (1, height, width, 3). It is scaled as the model's are.

    Its values depend on their position alone, so a larger one continues a smaller.

    Examples
    --------
    >>> probe_pixels(32, 32)[0, 1, :3, 0]
    array([ 44, 108, 172], dtype=uint8)
    """
    y, x, c = np.ogrid[:height, :width, :3]
    values = (37 * y + 61 * x + 89 * c + 3 * y * x + 7 * y * y) % 256
    pixels: npt.NDArray[np.uint8] = values[np.newaxis].astype(np.uint8)
    return pixels


def summarise(activation: npt.NDArray[np.float32]) -> dict[str, list[int] | list[float]]:
    """Take a few numbers of one picture's activation, (H, W, C) or (F,).

    Returns
    -------
    dict
        ``channels``, the eight that are largest in the corner, ascending; their values there,
        and for spatial activations their ``avg`` and ``max`` over height and width.
    """
    spatial = activation.ndim == 3
    corner = activation[0, 0] if spatial else activation
    largest = np.argsort(-np.abs(corner), kind="stable")[:N_CHANNELS]
    channels = np.sort(largest)
    summary: dict[str, Any] = {"channels": channels.tolist(), "corner": _digits(corner[channels])}
    if spatial:
        chosen = activation[..., channels].astype(np.float64)
        summary["avg"] = _digits(chosen.mean(axis=(0, 1)))
        summary["max"] = _digits(chosen.max(axis=(0, 1)))
    return summary


def _digits(values: npt.NDArray[Any]) -> list[float]:
    """Nine significant digits, which tell any two float32 apart."""
    return [float(f"{value:.9g}") for value in values.tolist()]
