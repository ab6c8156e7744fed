"""Read the scales of the outputs of an int8 model."""

from collections.abc import Sequence

import numpy as np

from sparsefeat.model.file import ModelFile
from sparsefeat.model.graph import Pool
from sparsefeat.model.layer_names import PRE
from sparsefeat.types import ChannelScales

LEVELS = 255  # the largest code in 8 bits


def read_channel_scales(
    file: ModelFile, names: Sequence[str], pool: Pool
) -> dict[str, ChannelScales]:
    """Read the channel scales of those outputs among `names` that have integer codes.

    The scales of a convolution are in the graph as ``<layer>/scales/map``; a max pooling after it
    has the same. For a channel that was split in two, ``<layer>/times`` is the ratio of its second
    scale to its first. Pre-activations, averages and layers after the last pooling have no codes.

    Raises
    ------
    ModelError
        The weights can't be read, or are damaged.
    """
    weights = {one.name for one in file.graph.graph.initializer}
    scales: dict[str, ChannelScales] = {}
    latest: ChannelScales | None = None
    for layer in file.metadata.layers:
        if not layer.spatial:
            break
        if f"{layer.name}/scales/map" in weights:
            latest = _scales(file, layer.name, weights)
        if latest is not None and layer.shape[-1] == len(latest.scales):
            scales[layer.name] = latest
    return {
        name: scales[name]
        for name in names
        if name in scales and not name.endswith(PRE) and pool != "avg"
    }


def _scales(file: ModelFile, layer: str, weights: set[str]) -> ChannelScales | None:
    """Read a convolution's scales; None if they are not valid scales."""
    scales = file.tensor(f"{layer}/scales/map").reshape(-1)
    largest = LEVELS
    if f"{layer}/times" in weights:
        largest += LEVELS * int(np.nan_to_num(file.tensor(f"{layer}/times")).max(initial=0))
    valid = scales.dtype == np.float32 and bool((np.isfinite(scales) & (scales > 0)).all())
    if not valid or not LEVELS <= largest <= np.iinfo(np.uint16).max:
        return None
    return ChannelScales(scales=np.ascontiguousarray(scales), largest=largest)
