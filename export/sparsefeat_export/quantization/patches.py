"""What a convolution sees of its input, and the moments of that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat_export.quantization.convolve import View, convolution, pooled
from sparsefeat_export.quantization.stack import Convolution, Stage

Floats = npt.NDArray[np.float64]

POSITIONS = 340  # of each view: together a few times as many as a patch has elements


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the quantized network shows a layer, counted in steps.

    Attributes
    ----------
    mean
        Mean patch: (inputs,).
    centred
        The patches less their mean: float32 (positions, inputs).
    second
        Second moments of these: (inputs, inputs).
    """

    mean: Floats
    centred: npt.NDArray[np.float32]
    second: Floats


def exact_outputs(
    stages: Sequence[Stage],
    images: npt.NDArray[np.float32],
    *,
    passed: Callable[[], object] = lambda: None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Compute each convolution's pre-activations in the float32 network: (positions, O) by name.

    A picture at a time goes through all layers, so that none but its own activations are in
    memory. `passed` is called when one has passed a convolution. Positions are those of `inputs`.
    """
    convolutions = [stage for stage in stages if isinstance(stage, Convolution)]
    layers = {one.name: convolution(one.kernel, one.bias) for one in convolutions}
    found: dict[str, list[npt.NDArray[np.float32]]] = {one.name: [] for one in convolutions}
    for index, image in enumerate(images):
        view: View = np.ascontiguousarray(image.transpose(2, 0, 1))
        for stage in stages:
            if isinstance(stage, Convolution):
                weights = stage.kernel.reshape(len(stage.kernel), -1)
                patches = _patches(view, stage.name, index)
                found[stage.name].append(patches @ weights.T + stage.bias)
                view = layers[stage.name](view)
                passed()
            else:
                view = pooled(view)
    return {name: np.concatenate(outputs) for name, outputs in found.items()}


def inputs(layer: str, views: Sequence[View]) -> Inputs:
    """Take 3x3 patches at random positions of each view, (C, H, W), and their moments."""
    seen = np.concatenate([_patches(view, layer, index) for index, view in enumerate(views)])
    mean = seen.mean(axis=0, dtype=np.float64)
    seen -= mean.astype(np.float32)
    second = (seen.T @ seen).astype(np.float64)
    second /= len(seen)
    return Inputs(mean=mean, centred=seen, second=second)


def _patches(view: View, layer: str, index: int) -> npt.NDArray[np.float32]:
    """Cut patches out of a view, (C, H, W), zero beyond its edges: float32 (positions, C * 9).

    The positions are always the same for a layer and the view's index, whichever network made it.
    """
    generator = np.random.default_rng([index, *layer.encode()])
    height, width = view.shape[1:]
    n_positions = min(POSITIONS, height * width)
    rows, columns = np.divmod(generator.choice(height * width, n_positions, replace=False), width)
    padded = np.pad(view, ((0, 0), (1, 1), (1, 1)))
    patches = np.empty((len(rows), len(view), 3, 3), dtype=np.float32)
    for down in range(3):
        for right in range(3):
            patches[:, :, down, right] = padded[:, rows + down, columns + right].T
    return patches.reshape(len(rows), -1)
