"""Computes the feature maps of one image, and shows them."""

import base64
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefeat.errors import DependencyError, InputError, LayerError
from sparsefeat.images import ImageInput, normalize
from sparsefeat.model import PRE, ModelLayer, choose_layers, find_layer
from sparsefeat.storage import is_special, write_file
from sparsefeat.system import check_choice
from sparsefeat.viz.maps.arrays import STAGES, MapArrays, Scale, Stage, validate_scale
from sparsefeat.viz.maps.channels import (
    CRITERIA,
    OF_ONE_IMAGE,
    Criterion,
    channel_means,
    parse_channels,
    selectivity,
)
from sparsefeat.viz.maps.figure import draw_figure
from sparsefeat.viz.maps.mosaic import draw_png
from sparsefeat.viz.maps.page import render_maps

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sparsefeat.pipeline import Extractor
    from sparsefeat.types import Reject

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps(MapArrays):
    """The feature maps of one layer for one image; `maps` returns it.

    Attributes
    ----------
    layer
        The layer's Keras name.
    image
        The image's path, percent-encoded as in a store; empty if it has none.
    pixels
        uint8 (height, width, 3), RGB: the image as the network saw it, before scaling.
    channels
        int64 (k,): the numbers of the chosen channels, the best first if there is a criterion.
        All arrays have their channels in this order.
    n_channels
        Number of channels of the layer.
    stage
        What is shown: ``pre``, ``post`` or ``both``.
    rectified
        Whether the layer has a ReLU.
    pre
        float32 (H, W, k): values before ReLU; None if only the output was requested.
    post
        float32 (H, W, k): the layer's output, after ReLU if it has one.
    best, scores
        The criterion, and its score for each channel, float64 (k,); None without a criterion.
    settings
        Model, preprocessing and size, as in `Extractor.settings`.
    """

    def figure(self, *, scale: Scale = "shared", relu_split: bool = False) -> "go.Figure":
        """Draw the maps as a plotly figure, which Jupyter shows.

        A figure has at most 15 MB. Where all positions would take more, each plot shows every
        second (third, ...) row and column, and the figure's title says so: 64 channels of
        ``block1_conv1`` at 224x224, for example, show every second one. `html` and `png` show
        all positions.

        Parameters
        ----------
        scale
            ``shared``: one colour scale for all channels; ``channel``: one for each channel.
        relu_split
            Show what ReLU keeps and what it clips, instead of before and after ReLU.

        Raises
        ------
        InputError
            The figure would have more than 128 plots: a channel has one, or two where both
            stages are shown. `html` shows any number of channels.
        DependencyError
            plotly isn't installed, or doesn't load.
        """
        return draw_figure(self, scale=validate_scale(scale), relu_split=relu_split)

    def html(self, *, scale: Scale = "shared", relu_split: bool = False) -> str:
        """Return an interactive page as one HTML file; the options are those of `figure`.

        Raises
        ------
        InputError
            The page would be larger than 15 MB.
        DependencyError
            plotly or Jinja2 isn't installed, or doesn't load.
        """
        return render_maps(self, scale=validate_scale(scale), relu_split=relu_split)

    def png(self, *, scale: Scale = "shared", relu_split: bool = False) -> bytes:
        """Draw the maps; return the bytes of a PNG file. The options are those of `figure`.

        Raises
        ------
        DependencyError
            matplotlib isn't installed, or doesn't load.
        """
        return draw_png(self, scale=validate_scale(scale), relu_split=relu_split)

    def save(
        self, path: str | os.PathLike[str], *, scale: Scale = "shared", relu_split: bool = False
    ) -> None:
        """Write a page or a PNG file, as the file's ending says: .html or .png.

        The options are those of `figure`. A pipe or a device may have any name, and gets a page
        unless its name ends in .png.

        Raises
        ------
        InputError
            The name has another ending, or the file can't be written.
        """
        file = Path(path)
        ending = _ending(file)
        if ending == ".html":
            content = self.html(scale=scale, relu_split=relu_split).encode()
        else:
            content = self.png(scale=scale, relu_split=relu_split)
        write_file(file, content)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Show the PNG in Jupyter, or only the repr if matplotlib isn't installed."""
        bundle = {"text/plain": repr(self)}
        with suppress(DependencyError):
            bundle["image/png"] = base64.b64encode(self.png()).decode()
        return bundle


def maps(
    extractor: "Extractor",
    image: ImageInput,
    layer: str | None = None,
    *,
    channels: str | int | Sequence[int] = "all",
    best: Criterion | None = None,
    stage: Stage | None = None,
    reference: "AnyPath | Iterable[ImageInput | Reject] | None" = None,
) -> FeatureMaps:
    """Compute the feature maps of one layer for one image, before and after ReLU.

    Parameters
    ----------
    extractor
        The extractor whose model, preset and size are used.
    image
        An image, as `Extractor.extract` takes it.
    layer
        A layer of the model that has rows and columns; by default the extractor's only layer.
        For another layer the extractor loads the part of the network that it needs, and keeps it.
    channels
        ``all``, ``0-15``, ``3,8,12``, ``top:16``, a number, or a sequence of numbers.
    best
        The criterion that puts the best channels first: ``energy`` (the default for ``top:N``),
        ``variance``, ``contrast`` or ``selectivity``; `sparsefeat.viz.maps.channels` defines
        them.
    stage
        ``pre`` for values before ReLU, ``post`` for values after it, or ``both``, which is the
        default if the layer has a ReLU.
    reference
        For selectivity: a store that has the layer, or images as `Extractor.extract` takes them.

    Returns
    -------
    FeatureMaps
        The arrays, with methods that show them: ``figure``, ``html``, ``png``, ``save``.

    Raises
    ------
    LayerError
        The model doesn't have the layer, the layer has no rows and columns, or it has no ReLU and
        `stage` needs one.
    InputError, SourceError
        The image can't be read, or an option has an invalid value.
    StoreMismatchError
        The reference was made with another model or other preprocessing.

    Examples
    --------
    >>> import sparsefeat
    >>> extractor = sparsefeat.Extractor("vgg16.onnx")
    >>> maps = sparsefeat.maps(extractor, "cat.jpg", "block1_conv1", channels="top:16")
    >>> maps.post.shape, maps.pre.shape
    ((224, 224, 16), (224, 224, 16))
    """
    selection = parse_channels(channels)
    if selection.top is not None and best is None:
        best = "energy"
    _check(best, reference)
    if layer is None:
        layer = _only(extractor)
    found = _spatial(layer, extractor.metadata.layers)
    stage = _stage(found, stage)
    names = outputs(found.name, stage, extractor.metadata.layers)
    decoded = extractor.read(image)
    runner = extractor.with_layers(names)
    computed = runner.run(normalize(decoded.pixels, runner.scaling)[None])
    post = computed[found.name][0]
    scores = None
    if best is not None and reference is None:
        scores = OF_ONE_IMAGE[best](post)
    elif reference is not None:
        others = channel_means(extractor.with_layers((found.name,)), reference)
        scores = selectivity(post, others)
    numbers = selection.choose(post.shape[-1], scores)
    before = None if stage == "post" else computed[found.name + PRE][0]
    return FeatureMaps(
        layer=found.name,
        image=decoded.row.path,
        pixels=decoded.pixels,
        channels=numbers,
        n_channels=post.shape[-1],
        stage=stage,
        rectified=found.rectified,
        pre=None if before is None else np.ascontiguousarray(before[..., numbers]),
        post=np.ascontiguousarray(post[..., numbers]),
        best=best,
        scores=None if scores is None else scores[numbers],
        settings=runner.settings,
    )


def outputs(layer: str, stage: Stage | None, layers: Sequence[ModelLayer]) -> tuple[str, ...]:
    """Return the names of the model's outputs that a layer's maps need, in network order.

    Raises
    ------
    LayerError, InputError
        As in `maps`, for layer and stage.
    """
    found = _spatial(layer, layers)
    if _stage(found, stage) == "post":
        return (found.name,)
    return (found.name + PRE, found.name)


def _check(best: str | None, reference: object) -> None:
    if best is not None:
        check_choice(best, CRITERIA, "criterion")
    if (best == "selectivity") != (reference is not None):
        raise InputError(
            "selectivity needs a reference: name a store that has the layer, or images"
            if reference is None
            else f"a reference is used by the criterion selectivity only, got {best!r}: leave the "
            "reference out, or choose selectivity"
        )


def _only(extractor: "Extractor") -> str:
    bases = {each.removesuffix(PRE): None for each in extractor.layers}
    if len(bases) != 1:
        raise LayerError(f"the extractor has layers {', '.join(bases)}: name the one to show")
    return next(iter(bases))


def _spatial(name: str, layers: Sequence[ModelLayer]) -> ModelLayer:
    if name.endswith(PRE):
        raise LayerError(
            f"got layer {name!r}: name the layer {name.removesuffix(PRE)}, and use stage pre to "
            "show it before ReLU"
        )
    chosen = choose_layers(name, layers)
    if chosen != (name,):
        raise LayerError(f"got {name!r}, expected one layer, such as {chosen[0]}")
    found = find_layer(name, layers)
    if not found.spatial:
        spatial = [layer.name for layer in layers if layer.spatial]
        raise LayerError(
            f"layer {name} has no rows and columns to draw, expected one of {', '.join(spatial)}"
        )
    return found


def _stage(layer: ModelLayer, stage: Stage | None) -> Stage:
    if stage is None:
        return "both" if layer.rectified else "post"
    check_choice(stage, STAGES, "stage")
    if stage != "post" and not layer.rectified:
        raise LayerError(
            f"layer {layer.name} has no ReLU, and so no values before ReLU: use stage post"
        )
    return stage


def _ending(file: Path) -> str:
    """Return the ending of a file name, .html or .png.

    Raises
    ------
    InputError
        The ending is neither, and the file isn't a pipe or a device.
    """
    ending = file.suffix.lower()
    if ending != ".png" and is_special(file):
        return ".html"
    if ending not in (".html", ".png"):
        raise InputError(f"got {str(file)!r}, expected a name that ends in .html or .png")
    return ending
