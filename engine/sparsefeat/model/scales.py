"""What an int8 model's outputs are whole numbers of."""

from collections.abc import Sequence

import numpy as np

from sparsefeat.model.file import ModelFile
from sparsefeat.model.graph import Pool
from sparsefeat.model.layer_names import PRE
from sparsefeat.types import ChannelScales

LEVELS = 255  # of a count in 8 bits


def read_channel_scales(
    file: ModelFile, names: Sequence[str], pool: Pool
) -> dict[str, ChannelScales]:
    """Look up the scales of the outputs `names`; not every one has some.

    Those of a convolution's channels lie in the graph, as ``<layer>/scales/map``, and a pooling
    behind it passes them on. A channel that is split counts ``<layer>/times`` scales as well.
    Pre-activations, averages and whatever comes after the last pooling are not whole numbers.

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
    """Read a convolution's scales; None if they are none."""
    scales = file.tensor(f"{layer}/scales/map").reshape(-1)
    largest = LEVELS
    if f"{layer}/times" in weights:
        largest += LEVELS * int(np.nan_to_num(file.tensor(f"{layer}/times")).max(initial=0))
    sound = scales.dtype == np.float32 and bool((np.isfinite(scales) & (scales > 0)).all())
    if not sound or not LEVELS <= largest <= np.iinfo(np.uint16).max:
        return None
    return ChannelScales(scales=np.ascontiguousarray(scales), largest=largest)
