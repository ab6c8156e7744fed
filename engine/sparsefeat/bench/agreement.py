"""Checks that an engine computes the right outputs, before it is timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsefeat.bench.engines import Engine
from sparsefeat.errors import BenchmarkError

Float32 = NDArray[np.float32]

# For each precision: the largest relative L2 error against float32 of any layer, and the least
# share of elements that are zero in both or in neither. Measured: float32 engines differ by 2e-6,
# bf16 by 6e-3, int8 by 3e-2 to 9e-2 (docs/quantization.md) and in block1 by 5 % of the zeros.
# Narrow networks and smaller images differ by more.
LIMITS = {"fp32": (1e-4, 0.999), "bf16": (3e-2, 0.98), "int8": (0.3, 0.85)}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far an engine's outputs are from the reference's: the worst value over all layers.

    `relative_l2` is the L2 norm of the difference, divided by that of the reference;
    `zeros_agree` the share of elements that are zero in both or in neither.
    """

    reference: str
    relative_l2: float
    zeros_agree: float


def compare_answers(
    engine: Engine, reference: Engine, layers: Sequence[str], *, ours: Path, theirs: Path
) -> Agreement:
    """Compare the layers that two workers wrote, as ``<index>.npy`` in the order of `layers`.

    Raises
    ------
    BenchmarkError
        A layer differs by more than the engine's precision allows or in shape, or isn't finite.
    """
    found = [
        compare_layer(
            engine,
            reference,
            layer,
            got=np.load(ours / f"{index}.npy", mmap_mode="r"),
            expected=np.load(theirs / f"{index}.npy", mmap_mode="r"),
        )
        for index, layer in enumerate(layers)
    ]
    return Agreement(
        reference=reference.name,
        relative_l2=max(one.relative_l2 for one in found),
        zeros_agree=min(one.zeros_agree for one in found),
    )


def compare_layer(
    engine: Engine, reference: Engine, layer: str, *, got: Float32, expected: Float32
) -> Agreement:
    """Compare one layer, float32 of any shape.

    Raises
    ------
    BenchmarkError
        As in `compare_answers`.
    """
    limit, least = LIMITS[engine.precision]
    if got.shape != expected.shape:
        raise BenchmarkError(
            f"engine {engine.name} returns {layer} of shape {got.shape}, {reference.name} of shape "
            f"{expected.shape}: their times can't be compared"
        )
    error = _relative_l2(got, expected)
    agreeing = float(np.mean((got == 0) == (expected == 0)))
    if not (error <= limit and agreeing >= least):  # NaN fails as well
        raise BenchmarkError(
            f"engine {engine.name} computes {layer} with a relative error of {error:.1e} and "
            f"{agreeing:.4f} of the zeros in common with {reference.name}, expected at most "
            f"{limit:.0e} and at least {least} for {engine.precision}: leave the engine out"
        )
    return Agreement(reference=reference.name, relative_l2=error, zeros_agree=agreeing)


def _relative_l2(got: np.ndarray, expected: np.ndarray) -> float:
    norm = float(np.linalg.norm(expected.astype(np.float64).ravel()))
    error = float(np.linalg.norm((got - expected.astype(np.float64)).ravel()))
    return error / norm if norm else (0.0 if error == 0 else float("inf"))
