"""The feature maps of one layer as arrays, and the panels in which they are drawn."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.system import check_choice, one_line
from sparsefeat.viz.maps.channels import Criterion
from sparsefeat.viz.maps.colours import Colours

if TYPE_CHECKING:
    import pandas as pd

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

Stage = Literal["pre", "post", "both"]
STAGES: tuple[str, ...] = get_args(Stage)
Scale = Literal["shared", "channel"]
SCALES: tuple[str, ...] = get_args(Scale)

TOP = 0.999
"""A colour scale ends at the value below which this share of the non-zero values lies."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One of the plots that each channel has: float32 (H, W, C), and its colours.

    `source` is the layer's pre-activation or its output, `part` the values of it that are shown.
    """

    title: str
    source: Literal["pre", "post"]
    part: Literal["all", "positive", "negative"]
    values: Float32 = field(repr=False)
    colours: Colours

    @cached_property
    def shared_limit(self) -> float:
        """Absolute value at which the colour scale ends, for all channels together."""
        return _limit(self.values)

    @cached_property
    def limits(self) -> Float64:
        """Absolute value at which the colour scale of each channel ends, float64 (C,)."""
        return np.array([_limit(self.values[..., i]) for i in range(self.values.shape[-1])])

    def limit(self, index: int, scale: Scale) -> float:
        """Return the limit of one channel's colour scale."""
        return self.shared_limit if scale == "shared" else float(self.limits[index])


def validate_scale(scale: str) -> Scale:
    """Return the scale, or raise `InputError` if it is unknown."""
    check_choice(scale, SCALES, "scale")
    return "shared" if scale == "shared" else "channel"


@dataclass(frozen=True, kw_only=True, eq=False)
class MapArrays:
    """The data of `FeatureMaps`, and the panels to draw."""

    layer: str
    image: str
    pixels: npt.NDArray[np.uint8] = field(repr=False)
    channels: npt.NDArray[np.int64] = field(repr=False)
    n_channels: int
    stage: Stage
    rectified: bool
    pre: Float32 | None = field(repr=False)
    post: Float32 = field(repr=False)
    best: Criterion | None
    scores: Float64 | None = field(repr=False)
    settings: dict[str, Any] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, k): rows, columns, and chosen channels."""
        height, width, n = self.post.shape
        return height, width, n

    @property
    def zero_mask(self) -> npt.NDArray[np.bool_]:
        """Where the output is exactly zero: bool (H, W, k)."""
        mask: npt.NDArray[np.bool_] = self.post == 0
        return mask

    @property
    def zeros(self) -> Float64:
        """Share of each channel's positions where the output is exactly zero: float64 (k,)."""
        shares: Float64 = self.zero_mask.mean(axis=(0, 1))
        return shares

    @property
    def clipped(self) -> Float64 | None:
        """Share of each channel's positions that are negative before ReLU: float64 (k,).

        None without a pre-activation. It may be less than `zeros`, because a pre-activation of
        exactly 0 isn't clipped, and because an int8 model rounds small values to 0.
        """
        return None if self.pre is None else (self.pre < 0).mean(axis=(0, 1))

    def panels(self, *, relu_split: bool = False) -> list[Panel]:
        """Return the panels of each channel, from left to right.

        Raises
        ------
        InputError
            `relu_split` needs a pre-activation, and these maps have none.
        """
        pre, post = self.pre, self.post
        if relu_split:
            if pre is None:
                raise InputError(
                    "relu_split needs the pre-activation: use stage pre or both, and a layer that "
                    "has a ReLU"
                )
            positive, negative = np.maximum(pre, 0), np.minimum(pre, 0)
            return [
                Panel("kept by ReLU", "pre", "positive", positive, "positive"),
                Panel("clipped by ReLU", "pre", "negative", negative, "negative"),
            ]
        shown = []
        if pre is not None and self.stage != "post":
            shown.append(Panel("before ReLU", "pre", "all", pre, "signed"))
        if self.stage != "pre":
            title = "after ReLU" if self.rectified else "output"
            # If the output follows from the pre-activation, the page needs only the latter.
            if pre is not None and np.array_equal(np.maximum(pre, 0), post):
                shown.append(Panel(title, "pre", "positive", post, "positive"))
            else:
                shown.append(Panel(title, "post", "all", post, "positive"))
        return shown

    def heading(self) -> str:
        """Describe the maps in one line."""
        height, width, n = self.shape
        shown = f"all {n}" if n == self.n_channels else f"{n} of {self.n_channels}"
        model, preset = self.settings["model"], self.settings["preprocess"]["name"]
        rows, columns = self.settings["size"]
        order = f", best {self.best} first" if self.best else ""
        return (
            f"{one_line(self.image) or 'an image'} · {shown} channels of {height}×{width}{order}"
            f" · {model['architecture'].upper()} {model['precision']}, weights "
            f"{model['weights_sha256'][:12]} · preprocessing {preset}, {rows}×{columns}"
        )

    def frame(self) -> "pd.DataFrame":
        """Return a pandas frame with a line for each channel.

        Columns: `channel`, `zeros` and `clipped` (shares), `pre_min` and `pre_mean` before ReLU,
        `mean` and `max` of the output, and the criterion's score. Columns without data are left
        out.
        """
        import pandas as pd

        columns: dict[str, Any] = {"channel": self.channels, "zeros": self.zeros}
        if self.clipped is not None:
            columns["clipped"] = self.clipped
        if self.pre is not None:
            columns["pre_min"] = self.pre.min(axis=(0, 1))
            columns["pre_mean"] = self.pre.mean(axis=(0, 1), dtype=np.float64)
        columns["mean"] = self.post.mean(axis=(0, 1), dtype=np.float64)
        columns["max"] = self.post.max(axis=(0, 1))
        if self.scores is not None:
            columns[str(self.best)] = self.scores
        return pd.DataFrame(columns)

    def to_json(self) -> dict[str, Any]:
        """Return everything except the arrays, as values that JSON can hold."""
        height, width, _ = self.shape
        return {
            "layer": self.layer,
            "image": self.image,
            "shape": [height, width, self.n_channels],
            "stage": self.stage,
            "best": self.best,
            "settings": self.settings,
            "channels": self.frame().to_dict(orient="records"),
        }


def _limit(values: Float32) -> float:
    magnitudes = np.abs(values[values != 0])
    if not magnitudes.size:
        return 1.0
    return float(np.quantile(magnitudes, TOP, method="higher"))
