"""What an int8 model's outputs are whole numbers of."""

from collections.abc import Sequence

import numpy as np

from sparsefeat.model.file import ModelFile
from sparsefeat.model.graph import Pool
from sparsefeat.model.layer_names import PRE
from sparsefeat.types import ChannelSteps

LEVELS = 255  # of a count in 8 bits


def channel_steps(file: ModelFile, names: Sequence[str], pool: Pool) -> dict[str, ChannelSteps]:
    """Look up the steps of the outputs `names`; not every one has some.

    Those of a convolution's channels lie in the graph, as ``<layer>/steps/map``, and a pooling
    behind it passes them on. A channel that is split counts ``<layer>/times`` steps as well.
    Pre-activations, averages and whatever comes after the last pooling are not whole numbers.

    Raises
    ------
    ModelError
        The weights can't be read, or are damaged.
    """
    weights = {one.name for one in file.graph.graph.initializer}
    steps: dict[str, ChannelSteps] = {}
    latest: ChannelSteps | None = None
    for layer in file.metadata.layers:
        if not layer.spatial:
            break
        if f"{layer.name}/steps/map" in weights:
            latest = _steps(file, layer.name, weights)
        if latest is not None and layer.shape[-1] == len(latest.steps):
            steps[layer.name] = latest
    return {
        name: steps[name]
        for name in names
        if name in steps and not name.endswith(PRE) and pool != "avg"
    }


def _steps(file: ModelFile, layer: str, weights: set[str]) -> ChannelSteps | None:
    """Read a convolution's steps; None if they are none."""
    steps = file.tensor(f"{layer}/steps/map").reshape(-1)
    largest = LEVELS
    if f"{layer}/times" in weights:
        largest += LEVELS * int(np.nan_to_num(file.tensor(f"{layer}/times")).max(initial=0))
    sound = steps.dtype == np.float32 and bool((np.isfinite(steps) & (steps > 0)).all())
    if not sound or not LEVELS <= largest <= np.iinfo(np.uint16).max:
        return None
    return ChannelSteps(steps=np.ascontiguousarray(steps), largest=largest)
