"""Random weights from a seed, for tests and benchmarks."""

import numpy as np

from sparsefeat_export import plan
from sparsefeat_export.weights import Array, Found

# Pictures reach the network as values up to 150; the first kernel brings them down to about 1,
# so that the softmax at the end neither saturates nor underflows to zero.
INPUT_SCALE = 64.0
# The last kernel keeps the logits small: the softmax multiplies their error by their size.
LOGIT_SCALE = 8.0
BIAS_SCALE = 0.1


def read_random(
    seed: int, *, top: bool = True, channels_divisor: int = 1
) -> tuple[list[Found], list[Found]]:
    """Draw He-normal kernels and small normal biases; the same seed gives the same weights.

    Returns
    -------
    convolutions, dense
        In network order. `dense` is empty without `top`. The convolutions of a seed are the
        same with the top and without.

    Examples
    --------
    >>> convolutions, dense = read_random(0, top=False)
    >>> convolutions[0].kernel
    (3, 3, 3, 64)
    """
    convolutions = plan.convolutions(channels_divisor)
    dense = plan.dense(channels_divisor) if top else []
    found = [_drawn(seed, index, planned) for index, planned in enumerate(convolutions + dense)]
    return found[: len(convolutions)], found[len(convolutions) :]


def _drawn(seed: int, index: int, planned: plan.Plan) -> Found:
    scale = {"block1_conv1": INPUT_SCALE, "predictions": LOGIT_SCALE}

    def read() -> tuple[Array, Array]:
        rng = np.random.default_rng([seed, index])
        kernel = rng.standard_normal(planned.kernel, dtype=np.float32)
        fan_in = kernel.size // kernel.shape[-1]
        kernel *= np.sqrt(2 / fan_in) / scale.get(planned.name, 1.0)
        bias = rng.standard_normal(planned.bias, dtype=np.float32)
        bias *= BIAS_SCALE
        return kernel, bias

    return Found(name=planned.name, kernel=planned.kernel, bias=planned.bias, read=read)
