"""Check which precision is really active, by running a known input and comparing the results."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sparsefeat.errors import ModelError, PrecisionError
from sparsefeat.images import CAFFE, Scaling, normalize
from sparsefeat.model import ModelFile, Pool, Probe, Size
from sparsefeat.runtime import Precision

Float32 = NDArray[np.float32]

# The largest error allowed for each precision. Two float32 engines differ by at most 4e-6, with
# direct or Winograd convolutions; TF32 has an error of 3e-4. bfloat16 has 2e-4 after one early
# layer and 1e-2 after the whole network. The expected values of an int8 model are int8 values of
# the CPU provider; another engine occasionally rounds a code differently: errors of up to 4e-2.
HIGHEST = {"fp32": 2e-5, "bf16": 3e-2, "int8": 1e-1}
# The smallest error allowed: a smaller one means that a higher precision is active.
LOWEST = {"fp32": 0.0, "bf16": HIGHEST["fp32"], "int8": 0.0}

# From this size on, position (0, 0) of every layer does not depend on the right and bottom edges
# (the receptive field of block5_pool there ends at pixel 121), so one probe fits all sizes.
CORNER_EXTENT = 128


def has_probe_for(file: ModelFile, size: Size, pool: Pool) -> bool:
    """Return whether the model has expected values for a graph that is fixed to `size`."""
    if any((probe.height, probe.width) == size for probe in file.metadata.probe):
        return True
    return pool == "none" and min(size) >= CORNER_EXTENT


def check_probe(
    run: Callable[[Float32], dict[str, Float32]],
    file: ModelFile,
    *,
    provider: str,
    precision: Precision = "fp32",
    pool: Pool = "none",
    size: Size | None = None,
) -> float:
    """Run the model's probe and compare the outputs with the expected values in the model file.

    Parameters
    ----------
    run
        Runs the network: takes float32 (1, H, W, 3), returns an array for each output.
    size
        (height, width) that the graph is fixed to. By default the smallest probe is used.

    Returns
    -------
    float
        The largest relative L2 error of an output.

    Raises
    ------
    PrecisionError
        The error is too large, or too small, for the precision.
    ModelError
        The model has no expected values for an output.
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
    """Compute the probe's input, float32 (1, height, width, 3), from its integer formula."""
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
        raise ModelError(f"{file.path} has no probe for this size; export it again")
    return probes[0]


def _error(output: Float32, probe: Probe, name: str, pool: Pool) -> float:
    expected = probe.expected.get(name)
    if expected is None:
        raise ModelError(f"the model's probe has no values for {name}; export it again")
    got = output[(0,) * (output.ndim - 1)]  # (N, H, W, C) at the corner, or (N, F)
    pooled = {"none": (), "avg": expected.avg, "max": expected.max}[pool]
    # A layer without positions has no pooled values, and global pooling does not change it.
    reference = np.asarray(pooled or expected.corner, dtype=np.float64)
    scale = float(np.linalg.norm(reference)) or 1.0
    return float(np.linalg.norm(got[list(expected.channels)] - reference)) / scale
