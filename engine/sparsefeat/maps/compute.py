"""One photograph through one layer."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, LayerError
from sparsefeat.maps.criteria import CRITERIA, OF_ONE_PICTURE, Criterion, selectivity
from sparsefeat.maps.panels import STAGES, Stage
from sparsefeat.maps.reference import channel_means
from sparsefeat.maps.result import FeatureMaps
from sparsefeat.maps.selection import parse_channels
from sparsefeat.model import PRE, ModelLayer, choose, layer_of
from sparsefeat.pictures.decode import Picture
from sparsefeat.pictures.preprocess import normalize

if TYPE_CHECKING:
    from sparsefeat.extractor import Extractor
    from sparsefeat.records import Reject

AnyPath = str | os.PathLike[str]


def feature_maps(
    extractor: "Extractor",
    picture: Picture,
    layer: str | None = None,
    *,
    channels: str | int | Sequence[int] = "all",
    best: Criterion | None = None,
    stage: Stage | None = None,
    reference: "AnyPath | Iterable[Picture | Reject] | None" = None,
) -> FeatureMaps:
    """Compute a layer's feature maps of one picture: see `Extractor.maps`."""
    selection = parse_channels(channels)
    if selection.top is not None and best is None:
        best = "energy"
    _check(best, reference)
    if layer is None:
        layer = _only(extractor)
    found = _spatial(layer, extractor.metadata.layers)
    stage = _stage(found, stage)
    names = outputs(found.name, stage, extractor.metadata.layers)
    decoded = extractor.read(picture)
    runner = extractor.with_layers(names)
    computed = runner.run(normalize(decoded.pixels, runner.scaling)[None])
    post = computed[found.name][0]
    scores = None
    if best is not None:
        others = None
        if reference is not None:
            others = channel_means(extractor.with_layers((found.name,)), reference)
        scores = _scores(post, best, others)
    numbers = selection.pick(post.shape[-1], scores)
    return FeatureMaps(
        layer=found.name,
        picture=decoded.row.path,
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
        As `Extractor.maps` does, for layer and stage.
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
    if best is not None and best not in CRITERIA:
        raise InputError(f"unknown criterion {best!r}, expected one of: {', '.join(CRITERIA)}")
    if (best == "selectivity") != (reference is not None):
        raise InputError(
            "selectivity is measured against a reference, and nothing else is: give a store of the "
            f"layer or photographs as reference; got best {best!r} and "
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
    found = layer_of(name, layers)
    if not found.spatial:
        spatial = [layer.name for layer in layers if layer.spatial]
        raise LayerError(
            f"{name} has no rows and columns to draw, expected one of {', '.join(spatial)}"
        )
    return found


def _stage(layer: ModelLayer, stage: Stage | None) -> Stage:
    if stage is None:
        return "both" if layer.rectified else "post"
    if stage not in STAGES:
        raise InputError(f"unknown stage {stage!r}, expected one of: {', '.join(STAGES)}")
    if stage != "post" and not layer.rectified:
        raise LayerError(
            f"{layer.name} has no ReLU, so there is nothing before it; expected stage post"
        )
    return stage


def _scores(
    post: npt.NDArray[np.float32], best: Criterion, others: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    if others is None:
        return OF_ONE_PICTURE[best](post)
    return selectivity(post, others)
