"""What stands side by side: a layer before and after ReLU, or what ReLU keeps and clips."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.viz.maps.colours import Colours

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

Stage = Literal["pre", "post", "both"]
STAGES: tuple[str, ...] = get_args(Stage)
Scale = Literal["shared", "channel"]
SCALES: tuple[str, ...] = get_args(Scale)

TOP = 0.999
"""Share of the values other than zero that lie within the colours' limit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One way to see each channel: float32 (H, W, C), and the colours for it.

    `part` says what of `source`, the layer's pre-activation or its output, is shown.
    """

    title: str
    source: Literal["pre", "post"]
    part: Literal["all", "positive", "negative"]
    values: Float32 = field(repr=False)
    colours: Colours

    @cached_property
    def shared_limit(self) -> float:
        """Absolute value at which the colours end, for all channels together."""
        return _limit(self.values)

    @cached_property
    def limits(self) -> Float64:
        """The same for each channel by itself, float64 (C,)."""
        return np.array([_limit(self.values[..., i]) for i in range(self.values.shape[-1])])

    def limit(self, index: int, scale: Scale) -> float:
        """Give the limit for one of the channels."""
        return self.shared_limit if scale == "shared" else float(self.limits[index])


def checked_scale(scale: str) -> Scale:
    """Give the scale back, or say what it can be."""
    if scale not in SCALES:
        raise InputError(f"unknown scale {scale!r}, expected one of: {', '.join(SCALES)}")
    return "shared" if scale == "shared" else "channel"


def panels(
    pre: Float32 | None,
    post: Float32,
    *,
    stage: Stage,
    relu_split: bool,
    rectified: bool = True,
) -> list[Panel]:
    """Arrange what is to be seen, from left to right.

    Raises
    ------
    InputError
        What ReLU keeps and clips is asked for, and there is no pre-activation.
    """
    if relu_split:
        if pre is None:
            raise InputError(
                "what ReLU clips is in the pre-activation alone, expected stage pre or both"
                ", of a layer that has a ReLU"
            )
        return [
            Panel(
                title="kept by ReLU",
                source="pre",
                part="positive",
                values=np.maximum(pre, 0),
                colours="positive",
            ),
            Panel(
                title="clipped by ReLU",
                source="pre",
                part="negative",
                values=np.minimum(pre, 0),
                colours="negative",
            ),
        ]
    shown = []
    if pre is not None and stage != "post":
        shown.append(
            Panel(title="before ReLU", source="pre", part="all", values=pre, colours="signed")
        )
    if stage != "pre":
        # Only the one is sent to a page where the other follows from it.
        follows = pre is not None and np.array_equal(np.maximum(pre, 0), post)
        shown.append(
            Panel(
                title="after ReLU" if rectified else "output",
                source="pre" if follows else "post",
                part="positive" if follows else "all",
                values=post,
                colours="positive",
            )
        )
    return shown


def _limit(values: Float32) -> float:
    magnitudes = np.abs(values[values != 0])
    if not magnitudes.size:
        return 1.0
    return float(np.quantile(magnitudes, TOP, method="higher"))
