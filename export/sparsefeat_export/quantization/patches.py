"""What a convolution sees of its input, and the moments of that."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

POSITIONS = 340  # of each view: together a few times as many as a patch has elements


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Moments of what two networks show the same layer, over the same positions.

    Attributes
    ----------
    exact, quantized
        Mean patch in the float32 network, and in the quantized one in steps: (inputs,).
    second
        Second moments of the centred quantized patches: (inputs, inputs).
    """

    exact: npt.NDArray[np.float64]
    quantized: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]


def moments(
    exact: Sequence[npt.NDArray[np.float32]],
    quantized: Sequence[npt.NDArray[np.uint8]],
    generator: np.random.Generator,
) -> Moments:
    """Take the moments of 3x3 patches at random positions of each view, (C, H, W)."""
    height, width = exact[0].shape[1:]
    n_positions = min(POSITIONS, height * width)
    of_exact, of_quantized = [], []
    for one, other in zip(exact, quantized, strict=True):
        rows, columns = np.divmod(
            generator.choice(height * width, n_positions, replace=False), width
        )
        of_exact.append(_patches(one, rows, columns).mean(axis=0, dtype=np.float64))
        of_quantized.append(_patches(other, rows, columns))
    seen = np.concatenate(of_quantized)
    mean = seen.mean(axis=0, dtype=np.float64)
    seen -= mean.astype(np.float32)
    return Moments(
        exact=np.mean(of_exact, axis=0),
        quantized=mean,
        second=(seen.T @ seen).astype(np.float64) / len(seen),
    )


def _patches(
    view: npt.NDArray[np.float32] | npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Cut patches out of (C, H, W), zero beyond its edges: float32 (positions, C * 9)."""
    padded = np.pad(view, ((0, 0), (1, 1), (1, 1)))
    patches = np.empty((len(rows), len(view), 3, 3), dtype=np.float32)
    for down in range(3):
        for right in range(3):
            patches[:, :, down, right] = padded[:, rows + down, columns + right].T
    return patches.reshape(len(rows), -1)
