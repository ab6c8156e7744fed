"""The feature maps of one photograph, and the ways to show them."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import DependencyError, InputError
from sparsefeat.storage.whole_file import is_special, write_file
from sparsefeat.viz.maps.criteria import Criterion
from sparsefeat.viz.maps.panels import Panel, Scale, Stage, checked_scale, panels

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """A layer's feature maps of one photograph; `Extractor.maps` makes it.

    Attributes
    ----------
    layer
        The layer's Keras name.
    picture
        The photograph's path, percent-encoded as in a store; empty for what has none.
    pixels
        uint8 (height, width, 3), red first: the photograph as the network saw it, but for the
        mean that is subtracted.
    channels
        int64 (k,): the numbers of the channels that were chosen, best first if there is a
        criterion. `pre`, `post` and all that is per channel are in this order.
    n_channels
        Channels that the layer has.
    stage
        What is to be shown: ``pre``, ``post`` or ``both``.
    rectified
        Whether the layer has a ReLU.
    pre
        float32 (H, W, k) before ReLU; None where only the output was asked for.
    post
        float32 (H, W, k): the layer's output, after ReLU where it has one.
    best, scores
        The criterion and float64 (k,), what it gave; None without one.
    settings
        Model, preprocessing and size, as `Extractor.settings`.
    """

    layer: str
    picture: str
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
        """Rows, columns, and channels chosen."""
        height, width, n = self.post.shape
        return height, width, n

    @property
    def zero_mask(self) -> npt.NDArray[np.bool_]:
        """Where the output is exactly zero, bool (H, W, k)."""
        mask: npt.NDArray[np.bool_] = self.post == 0
        return mask

    @property
    def zeros(self) -> Float64:
        """Share of the places of each channel where the output is exactly zero, float64 (k,)."""
        shares: Float64 = self.zero_mask.mean(axis=(0, 1))
        return shares

    @property
    def clipped(self) -> Float64 | None:
        """Share of the places of each channel that ReLU clips: below 0 before it, float64 (k,).

        None where there is no pre-activation. A place that was exactly 0 before isn't clipped,
        so this may be less than `zeros`; an int8 model also rounds small values to 0.
        """
        return None if self.pre is None else (self.pre < 0).mean(axis=(0, 1))

    def panels(self, *, relu_split: bool = False) -> list[Panel]:
        """Give what stands side by side for each channel.

        Raises
        ------
        InputError
            `relu_split` without a pre-activation.
        """
        return panels(
            self.pre, self.post, stage=self.stage, relu_split=relu_split, rectified=self.rectified
        )

    def frame(self) -> "pd.DataFrame":
        """Sum up each channel: shares, and least, mean and largest activation."""
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
        """Give all but the arrays, in JSON's types."""
        height, width, _ = self.shape
        return {
            "layer": self.layer,
            "picture": self.picture,
            "shape": [height, width, self.n_channels],
            "stage": self.stage,
            "best": self.best,
            "settings": self.settings,
            "channels": self.frame().to_dict(orient="records"),
        }

    def figure(self, *, scale: Scale = "shared", relu_split: bool = False) -> "go.Figure":
        """Draw the maps as a plotly figure; Jupyter shows it.

        Parameters
        ----------
        scale
            ``shared`` colours for all channels, or each ``channel`` its own.
        relu_split
            Show what ReLU keeps and what it clips, instead of before and after.

        Raises
        ------
        InputError
            It would be larger than 15 MB, or have more than 32 channels: `html` holds more.
        DependencyError
            plotly isn't installed, or doesn't load.
        """
        from sparsefeat.viz.maps.figure import draw_figure

        return draw_figure(self, scale=checked_scale(scale), relu_split=relu_split)

    def html(self, *, scale: Scale = "shared", relu_split: bool = False) -> str:
        """Write a page that stands alone, for any number of channels; options as in `figure`.

        Raises
        ------
        InputError
            It would be larger than 15 MB.
        DependencyError
            plotly or Jinja2 isn't installed, or doesn't load.
        """
        from sparsefeat.viz.maps.page import render_maps

        return render_maps(self, scale=checked_scale(scale), relu_split=relu_split)

    def png(self, *, scale: Scale = "shared", relu_split: bool = False) -> bytes:
        """Draw a plain picture, as the bytes of a PNG file; options as in `figure`.

        Raises
        ------
        DependencyError
            matplotlib isn't installed, or doesn't load.
        """
        from sparsefeat.viz.maps.mosaic import draw_png

        return draw_png(self, scale=checked_scale(scale), relu_split=relu_split)

    def save(
        self, path: str | os.PathLike[str], *, scale: Scale = "shared", relu_split: bool = False
    ) -> None:
        """Write what the file's ending says, .html or .png; options as in `figure`.

        A pipe or a device may have any name, and gets a page unless the name ends in .png.

        Raises
        ------
        InputError
            The ending is another one, or the file can't be written.
        """
        file = Path(path)
        ending = checked_ending(file)
        if ending == ".html":
            content = self.html(scale=scale, relu_split=relu_split).encode()
        else:
            content = self.png(scale=scale, relu_split=relu_split)
        write_file(file, content)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Give Jupyter the plain picture; without matplotlib words alone, rather than an error."""
        import base64

        bundle = {"text/plain": repr(self)}
        with suppress(DependencyError):
            bundle["image/png"] = base64.b64encode(self.png()).decode()
        return bundle


def checked_ending(file: Path) -> str:
    """Give the ending of a file that maps can be written to.

    Raises
    ------
    InputError
        It is neither .html nor .png, and the file is no pipe or device.
    """
    ending = file.suffix.lower()
    if ending != ".png" and is_special(file):
        return ".html"
    if ending not in (".html", ".png"):
        raise InputError(f"got {str(file)!r}, expected a name that ends in .html or .png")
    return ending
