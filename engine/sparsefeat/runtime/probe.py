"""Proof of the precision that is really active: run a known input, compare the numbers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import ModelError, PrecisionError
from sparsefeat.images import CAFFE, Scaling, normalize
from sparsefeat.model import ModelFile, Pool, Probe, Size
from sparsefeat.runtime import Precision

Float32 = NDArray[np.float32]

# The largest error that a precision may show. Two float32 engines differ by 4e-6 at most here,
# whether they convolve directly or by Winograd; TF32 by 3e-4. bfloat16 shows 2e-4 where one early
# layer is all that is asked for, and 1e-2 behind a whole network. An int8 model's values are
# int8's own, as the CPU provider computes them: another engine rounds one code up instead of down
# here and there, which makes 4e-2.
HIGHEST = {"fp32": 2e-5, "bf16": 3e-2, "int8": 1e-1}
# The least that it must show, for a more exact one would be another than was asked for.
LOWEST = {"fp32": 0.0, "bf16": HIGHEST["fp32"], "int8": 0.0}

# From here on the first row and column of every layer don't see the far edges (what the
# first element of block5_pool sees ends at pixel 121), so one probe speaks for all sizes.
CORNER_EXTENT = 128


def can_prove_fixed(file: ModelFile, size: Size, pool: Pool) -> bool:
    """Whether there are values to compare with for a graph that is fixed to `size`."""
    if any((probe.height, probe.width) == size for probe in file.metadata.probe):
        return True
    return pool == "none" and min(size) >= CORNER_EXTENT


def prove(
    run: Callable[[Float32], dict[str, Float32]],
    file: ModelFile,
    *,
    provider: str,
    precision: Precision = "fp32",
    pool: Pool = "none",
    size: Size | None = None,
) -> float:
    """Run the model's stored probe and compare with the values stored with it.

    Parameters
    ----------
    run
        The session: float32 (1, H, W, 3) to one array for each output.
    size
        What the graph is fixed to; without it the smallest probe is taken.

    Returns
    -------
    float
        The largest relative L2 error over the outputs.

    Raises
    ------
    PrecisionError
        The numbers are not those of the model's weights in that precision: less exact, or
        more exact than it can be.
    ModelError
        The model has no values for these outputs.
    """
    probe = _choose(file, size)
    height, width = size or (probe.height, probe.width)
    outputs = run(probe_input(height, width, file.metadata.preprocessing.scaling))
    errors = {name: _error(output, probe, name, pool) for name, output in outputs.items()}
    worst = max(errors, key=errors.__getitem__)
    found = (
        f"{provider} computes {worst} with a relative error of {errors[worst]:.1e} on the "
        f"probe stored in {file.path.name}"
    )
    if not all(error <= HIGHEST[precision] for error in errors.values()):  # NaN fails as well
        raise PrecisionError(
            f"{found}, expected at most {HIGHEST[precision]:.0e} for {precision}: the provider "
            "computes in a lower precision; use another provider"
        )
    if errors[worst] < LOWEST[precision]:
        raise PrecisionError(
            f"{found}, expected at least {LOWEST[precision]:.0e} for {precision}: the provider "
            f"computes in a higher precision than was asked for; use --precision fp32"
        )
    return errors[worst]


def probe_input(height: int, width: int, scaling: Scaling = CAFFE) -> Float32:
    """Make the probe's input, float32 (1, height, width, 3), from integers alone."""
    y, x, c = np.ogrid[:height, :width, :3]
    pattern = (37 * y + 61 * x + 89 * c + 3 * y * x + 7 * y * y) % 256
    return normalize(pattern[None].astype(np.uint8), scaling)


def _choose(file: ModelFile, size: Size | None) -> Probe:
    probes = sorted(file.metadata.probe, key=lambda probe: probe.height * probe.width)
    if size is not None:
        same = [probe for probe in probes if (probe.height, probe.width) == size]
        large = [probe for probe in probes if min(probe.height, probe.width) >= CORNER_EXTENT]
        probes = same or large
    if not probes:
        raise ModelError(f"{file.path} carries no probe that fits; export it again")
    return probes[0]


def _error(output: Float32, probe: Probe, name: str, pool: Pool) -> float:
    expected = probe.expected.get(name)
    if expected is None:
        raise ModelError(f"the model's probe has no values for {name}; export it again")
    got = output[(0,) * (output.ndim - 1)]  # (N, H, W, C) at the corner, or (N, F)
    pooled = {"none": (), "avg": expected.avg, "max": expected.max}[pool]
    # A layer without rows and columns has no pooled values, and global pooling leaves it alone.
    reference = np.asarray(pooled or expected.corner, dtype=np.float64)
    scale = float(np.linalg.norm(reference)) or 1.0
    return float(np.linalg.norm(got[list(expected.channels)] - reference)) / scale
