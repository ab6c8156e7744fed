"""Layer after layer: what the quantized network computes so far decides the next weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sparsefeat_export.quantization import rounding
from sparsefeat_export.quantization.convolve import View, convolution, pooled
from sparsefeat_export.quantization.patches import Moments, exact_means, moments
from sparsefeat_export.quantization.stack import Convolution, Stage
from sparsefeat_export.quantization.steps import LEVELS, Ranges, chosen_steps, steps_of

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
    passed: Callable[[], object] = lambda: None,
) -> list[Quantized]:
    """Quantize every convolution of `stages`.

    Parameters
    ----------
    images
        What the network is shown, float32 (n, H, W, 3); views of one photograph side by side.
    compensate
        False rounds to nearest, to compare.
    passed
        Called when a picture has passed a convolution, `n_passes` times in all.
    """
    means = exact_means(stages, images, passed=passed)
    views: list[View] = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
    last = max(index for index, stage in enumerate(stages) if isinstance(stage, Convolution))
    done: list[Quantized] = []
    for index, stage in enumerate(stages[: last + 1]):
        if not isinstance(stage, Convolution):
            views = [pooled(view) for view in views]
            continue
        one = _first(stage)
        if done:
            seen = moments(stage.name, views)
            one = _rounded(stage, done[-1].steps, means[stage.name], seen, compensate=compensate)
        run = convolution(one.kernel * one.kernel_steps[:, None, None, None], one.bias)
        ranges = []
        for number, view in enumerate(views):
            ranges.append(_ranges(run(view), seed=number))
            passed()
        one = _with_steps(one, ranges, last=index == last)
        done.append(one)
        if index == last:
            break
        # Computed again, because all views' activations in float32 are gigabytes.
        for number, view in enumerate(views):
            views[number] = _in_steps(run(view), one.steps)
            passed()
    return done


def n_passes(stages: Sequence[Stage], n_images: int) -> int:
    """Tell how often `calibrate` has a picture pass a convolution."""
    return n_images * (3 * sum(isinstance(stage, Convolution) for stage in stages) - 1)


def _in_steps(output: npt.NDArray[np.float32], steps: Floats) -> npt.NDArray[np.uint8]:
    """Round rectified activations, (O, H, W), as the graph does."""
    output /= steps.astype(np.float32)[:, None, None]
    return np.minimum(np.rint(output, out=output), LEVELS, out=output).astype(np.uint8)


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
    stage: Convolution, input_steps: Floats, mean: Floats, seen: Moments, *, compensate: bool
) -> Quantized:
    """Round the weights for an input in steps, and keep the mean of what they compute.

    `mean` is the mean patch in the float32 network.
    """
    exact = stage.kernel.reshape(len(stage.kernel), -1).astype(np.float64)
    weights = exact * np.repeat(input_steps, 9)
    steps = rounding.steps_of(weights, seen.second)
    if compensate:
        whole = rounding.compensated(weights, steps, seen.second)
    else:
        whole = rounding.plain(weights, steps)
    bias = stage.bias + exact @ mean - (whole * steps[:, None]) @ seen.mean
    return Quantized(
        name=stage.name,
        kernel=whole.reshape(stage.kernel.shape).astype(np.int8),
        kernel_steps=steps,
        bias=bias,
        steps=np.ones(len(steps)),
    )


def _ranges(output: npt.NDArray[np.float32], *, seed: int) -> Ranges:
    """Take a view's largest activations and some at random positions, of (O, H, W)."""
    flat = output.reshape(len(output), -1)
    size = min(SAMPLES, flat.shape[1])
    positions = np.random.default_rng(seed).choice(flat.shape[1], size, replace=False)
    return Ranges(largest=flat.max(axis=1).astype(np.float64), samples=flat[:, positions].T)


def _with_steps(one: Quantized, ranges: Sequence[Ranges], *, last: bool) -> Quantized:
    if not last:
        return replace(one, steps=chosen_steps(ranges))
    # Nothing quantized reads it, so it may have two tensors: fine steps, and coarse ones for
    # what is beyond them.
    largest = np.max([each.largest for each in ranges], axis=0)
    fine = steps_of(largest, trust=1.0, margin=1.0)
    return replace(one, steps=fine, coarse=np.full(len(fine), BEYOND * fine.max()))
