"""Layer after layer: what the quantized network computes so far decides the next weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sparsefeat_export.quantization import rounding
from sparsefeat_export.quantization.convolve import convolution, pooled
from sparsefeat_export.quantization.patches import Moments, moments
from sparsefeat_export.quantization.stack import Convolution, Stage
from sparsefeat_export.quantization.steps import LEVELS, chosen_steps, steps_of

Floats = npt.NDArray[np.float64]

SAMPLES = 784  # activations of each view and channel that ranges are judged on
BEYOND = 2.0  # how far past the largest value seen the last layer's coarse steps reach


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A convolution in integers; the first one's kernel stays float32.

    Attributes
    ----------
    kernel
        int8 (O, I, 3, 3), or float32 for the first, which reads the pictures.
    kernel_steps
        What one is worth when the input is counted in its own steps: (O,).
    bias
        float64 (O,).
    steps
        The output's: (O,).
    coarse
        The last convolution's for what is beyond 255 of its `steps`: (O,), else None.
    """

    name: str
    kernel: npt.NDArray[np.int8] | npt.NDArray[np.float32]
    kernel_steps: Floats
    bias: Floats
    steps: Floats
    coarse: Floats | None = None


def calibrate(
    stages: Sequence[Stage],
    images: npt.NDArray[np.float32],
    *,
    compensate: bool = True,
    report: Callable[[str], object] = lambda _: None,
) -> list[Quantized]:
    """Quantize every convolution of `stages`, given the pictures, float32 (n, H, W, 3).

    Views of one photograph lie side by side. `compensate` False rounds to nearest, to compare.
    """
    generator = np.random.default_rng(0)
    exact = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
    quantized: list[npt.NDArray[np.uint8]] = []
    last = max(index for index, stage in enumerate(stages) if isinstance(stage, Convolution))
    done: list[Quantized] = []
    for index, stage in enumerate(stages):
        if not isinstance(stage, Convolution):
            exact, quantized = [pooled(one) for one in exact], [pooled(one) for one in quantized]
            continue
        if not done:
            one = _first(stage)
            inputs: Sequence[npt.NDArray[np.float32] | npt.NDArray[np.uint8]] = exact
        else:
            seen = moments(exact, quantized, generator)
            one = _rounded(stage, done[-1].steps, seen, compensate=compensate)
            inputs = quantized
        report(f"{stage.name}: weights rounded")
        run = convolution(one.kernel * one.kernel_steps[:, None, None, None], one.bias)
        outputs = [run(each) for each in inputs]
        one = _with_steps(one, outputs, generator, last=index == last)
        done.append(one)
        if index == last:
            break
        shown = one.steps.astype(np.float32)[:, None, None]
        quantized = [
            np.minimum(np.rint(output / shown), LEVELS).astype(np.uint8) for output in outputs
        ]
        run = convolution(stage.kernel, stage.bias)
        exact = [run(each) for each in exact]
    return done


def _first(stage: Convolution) -> Quantized:
    ones = np.ones(len(stage.kernel))
    return Quantized(
        name=stage.name,
        kernel=stage.kernel,
        kernel_steps=ones,
        bias=stage.bias.astype(np.float64),
        steps=ones,
    )


def _rounded(
    stage: Convolution, input_steps: Floats, seen: Moments, *, compensate: bool
) -> Quantized:
    """Round the weights for an input in steps, and keep the mean of what they compute."""
    exact = stage.kernel.reshape(len(stage.kernel), -1).astype(np.float64)
    weights = exact * np.repeat(input_steps, 9)
    steps = rounding.steps_of(weights, seen.second)
    if compensate:
        whole = rounding.compensated(weights, steps, seen.second)
    else:
        whole = rounding.plain(weights, steps)
    bias = stage.bias + exact @ seen.exact - (whole * steps[:, None]) @ seen.quantized
    return Quantized(
        name=stage.name,
        kernel=whole.reshape(stage.kernel.shape).astype(np.int8),
        kernel_steps=steps,
        bias=bias,
        steps=np.ones(len(steps)),
    )


def _with_steps(
    one: Quantized,
    outputs: Sequence[npt.NDArray[np.float32]],
    generator: np.random.Generator,
    *,
    last: bool,
) -> Quantized:
    flat = [output.reshape(len(output), -1) for output in outputs]
    largest = [each.max(axis=1).astype(np.float64) for each in flat]
    if last:
        # Nothing quantized reads it, so it may have two tensors: fine steps, and coarse ones
        # for what is beyond them.
        overall = np.max(largest, axis=0)
        fine = steps_of(overall, trust=1.0, margin=1.0)
        coarse = np.full(len(fine), BEYOND * fine.max())
        return replace(one, steps=fine, coarse=coarse)
    samples = []
    for each in flat:
        size = min(SAMPLES, each.shape[1])
        samples.append(each[:, generator.choice(each.shape[1], size, replace=False)].T)
    return replace(one, steps=chosen_steps(largest, samples))
