"""One image through one layer, and the ways to show its feature maps."""

import base64
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import DependencyError, InputError, LayerError
from sparsefeat.images import ImageInput, normalize
from sparsefeat.model import PRE, ModelLayer, choose, find_layer
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
    """A layer's feature maps of one image; `maps` makes it.

    Attributes
    ----------
    layer
        The layer's Keras name.
    image
        The image's path, percent-encoded as in a store; empty for what has none.
    pixels
        uint8 (height, width, 3), red first: the image as the network saw it, but for the
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
        """Write a page that stands alone, for any number of channels; options as in `figure`.

        Raises
        ------
        InputError
            It would be larger than 15 MB.
        DependencyError
            plotly or Jinja2 isn't installed, or doesn't load.
        """
        return render_maps(self, scale=validate_scale(scale), relu_split=relu_split)

    def png(self, *, scale: Scale = "shared", relu_split: bool = False) -> bytes:
        """Draw a plain image, as the bytes of a PNG file; options as in `figure`.

        Raises
        ------
        DependencyError
            matplotlib isn't installed, or doesn't load.
        """
        return draw_png(self, scale=validate_scale(scale), relu_split=relu_split)

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
        ending = _ending(file)
        if ending == ".html":
            content = self.html(scale=scale, relu_split=relu_split).encode()
        else:
            content = self.png(scale=scale, relu_split=relu_split)
        write_file(file, content)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Give Jupyter the plain image; without matplotlib words alone, rather than an error."""
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
    """Compute a layer's feature maps of one image, before and after ReLU.

    Parameters
    ----------
    extractor
        Of the model; its layers, preset and size are used.
    image
        As `Extractor.extract` takes.
    layer
        Any layer of the model that has rows and columns; by default the one that the
        extractor was made for. For another, only the part of the network that it needs is
        loaded, and kept.
    channels
        ``all``, ``0-15``, ``3,8,12``, ``top:16``, a number or several.
    best
        Puts the best channels first: ``energy`` (the default for ``top:N``), ``variance``,
        ``contrast`` or ``selectivity``; `sparsefeat.viz.maps.channels` defines them.
    stage
        ``pre`` for before ReLU, ``post`` for after it, or ``both``, the default where the
        layer has a ReLU.
    reference
        For selectivity: a store that holds the layer, or images as
        `Extractor.extract` takes them.

    Returns
    -------
    FeatureMaps
        Arrays, and ways to show them: ``.figure()``, ``.html()``, ``.png()``.

    Raises
    ------
    LayerError
        The layer isn't there, has no rows and columns, or no ReLU where one is asked for.
    InputError, SourceError
        The image can't be read, or another option has a value that it can't have.
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
    return FeatureMaps(
        layer=found.name,
        image=decoded.row.path,
        pixels=decoded.pixels,
        channels=numbers,
        n_channels=post.shape[-1],
        stage=stage,
        rectified=found.rectified,
        pre=None if stage == "post" else _taken(computed[found.name + PRE][0], numbers),
        post=_taken(post, numbers),
        best=best,
        scores=None if scores is None else scores[numbers],
        settings=runner.settings,
    )


def outputs(layer: str, stage: Stage | None, layers: Sequence[ModelLayer]) -> tuple[str, ...]:
    """Name the graph's outputs that a layer's maps need, in network order.

    Raises
    ------
    LayerError, InputError
        As `maps` does, for layer and stage.
    """
    found = _spatial(layer, layers)
    if _stage(found, stage) == "post":
        return (found.name,)
    return (found.name + PRE, found.name)


def _taken(
    maps: npt.NDArray[np.float32], numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(maps[..., numbers])


def _check(best: str | None, reference: object) -> None:
    if best is not None:
        check_choice(best, CRITERIA, "criterion")
    if (best == "selectivity") != (reference is not None):
        raise InputError(
            "selectivity is measured against a reference, and nothing else is: give a store of the "
            f"layer or images as reference; got best {best!r} and "
            f"{'no' if reference is None else 'a'} reference"
        )


def _only(extractor: "Extractor") -> str:
    bases = {each.removesuffix(PRE): None for each in extractor.layers}
    if len(bases) != 1:
        raise LayerError(f"the extractor has layers {', '.join(bases)}: say which one to show")
    return next(iter(bases))


def _spatial(name: str, layers: Sequence[ModelLayer]) -> ModelLayer:
    if name.endswith(PRE):
        raise LayerError(
            f"got layer {name!r}, expected the layer itself, {name.removesuffix(PRE)}, and stage "
            "pre for what it is before ReLU"
        )
    chosen = choose(name, layers)
    if chosen != (name,):
        raise LayerError(f"got {name!r}, expected one layer, such as {chosen[0]}")
    found = find_layer(name, layers)
    if not found.spatial:
        spatial = [layer.name for layer in layers if layer.spatial]
        raise LayerError(
            f"{name} has no rows and columns to draw, expected one of {', '.join(spatial)}"
        )
    return found


def _stage(layer: ModelLayer, stage: Stage | None) -> Stage:
    if stage is None:
        return "both" if layer.rectified else "post"
    check_choice(stage, STAGES, "stage")
    if stage != "post" and not layer.rectified:
        raise LayerError(
            f"{layer.name} has no ReLU, so there is nothing before it; expected stage post"
        )
    return stage


def _ending(file: Path) -> str:
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
