"""Quantize layer by layer, calibrating each on the output of the quantized layers before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat_export.quantization import rounding
from sparsefeat_export.quantization.scales import (
    FINENESSES,
    HALVES,
    Coding,
    Ranges,
    choose_scales,
    scales_from_ranges,
    split,
)
from sparsefeat_export.quantization.stack import Convolution, Stage, View, convolution, pooled

Floats = npt.NDArray[np.float64]

SAMPLES = 784  # activations of each view and channel, to compute the error of a scale on
# Share of channels that are split, for the layers where splitting reduces the error most.
SPLIT = {"block1_conv2": 0.5, "block5_conv1": 1.0, "block5_conv3": 1.0}
# Factor by which the range of a layer is extended: other images exceed the calibration images in
# many channels at once, and split channels have codes to spare.
REACH = {"block5_conv1": 1.5}
BEYOND = 2.0  # the range of the last layer, as a multiple of the largest value seen
GAINS = (0.9, 1.1)  # limits of the correction of a unit's gain

POSITIONS = 340  # per view; in all, a few times the number of elements in a patch


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Codes that a layer reads in the quantized network, sampled as 3x3 patches.

    Attributes
    ----------
    mean
        float64 (inputs,): the mean patch.
    centred
        float32 (positions, inputs): the patches minus their mean.
    second
        float64 (inputs, inputs): second moments of `centred`.
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
    """Compute the pre-activations of each convolution in float32, by name: (positions, O).

    The positions are those of `collect_inputs`. One image at a time goes through all layers, to
    save memory. `passed` is called after each convolution of each image.
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


def collect_inputs(layer: str, views: Sequence[View]) -> Inputs:
    """Sample 3x3 patches at random positions of each view, (C, H, W), and compute moments."""
    seen = np.concatenate([_patches(view, layer, index) for index, view in enumerate(views)])
    mean = seen.mean(axis=0, dtype=np.float64)
    seen -= mean.astype(np.float32)
    second = (seen.T @ seen).astype(np.float64)
    second /= len(seen)
    return Inputs(mean=mean, centred=seen, second=second)


def _patches(view: View, layer: str, index: int) -> npt.NDArray[np.float32]:
    """Cut 3x3 patches out of a view (C, H, W), padded with zeros: float32 (positions, C * 9).

    The positions depend only on the layer's name and the view's index.
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


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A quantized convolution.

    Attributes
    ----------
    kernel
        int8 (O, I, 3, 3); I is the number of coded channels of the layer before.
    kernel_scales
        float64 (O,): the value of 1 in `kernel`.
    bias
        float64 (O,).
    coding
        How the output is coded.
    """

    name: str
    kernel: npt.NDArray[np.int8]
    kernel_scales: Floats
    bias: Floats
    coding: Coding


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
        Calibration input, float32 (n, H, W, 3); views of the same image are consecutive.
    compensate
        False rounds weights to nearest, for comparison.
    passed
        Called after each convolution of each image, `n_passes` times in all.
    """
    exact = exact_outputs(stages, images, passed=passed)
    views: list[View] = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
    convolutions = [stage for stage in stages if isinstance(stage, Convolution)]
    readers = iter([*convolutions[1:], None])
    # The pixels of images are codes already, with a scale of 1.
    coding = Coding(channel=np.arange(3), scales=np.ones(3), beyond=np.zeros(3))
    done: list[Quantized] = []
    for stage in stages:
        if not isinstance(stage, Convolution):
            views = [pooled(view) for view in views]
            continue
        seen = collect_inputs(stage.name, views)
        kernel, scales, bias = _rounded(stage, coding, exact.pop(stage.name), seen, compensate)
        del seen  # hundreds of megabytes
        run = convolution(kernel * scales[:, None, None, None], bias)
        read = kernel[:, coding.channel]  # a split channel is read twice
        ranges = []
        for number, view in enumerate(views):
            ranges.append(_ranges(run(view), seed=number))
            passed()
        reader = next(readers)
        coding = _choose_coding(stage.name, ranges, reader)
        one = Quantized(
            name=stage.name, kernel=read, kernel_scales=scales, bias=bias, coding=coding
        )
        done.append(one)
        if reader is None:
            break
        # Computed again, because the float32 activations of all views would take gigabytes.
        for number, view in enumerate(views):
            views[number] = coding.combine(coding.encode(run(view)))
            passed()
    return done


def n_passes(stages: Sequence[Stage], n_images: int) -> int:
    """Return how often `calibrate` calls `passed`."""
    return n_images * (3 * sum(isinstance(stage, Convolution) for stage in stages) - 1)


def _rounded(
    stage: Convolution,
    coding: Coding,
    exact: npt.NDArray[np.float32],
    seen: Inputs,
    compensate: bool,
) -> tuple[npt.NDArray[np.int8], Floats, Floats]:
    """Round the weights of a layer with coded input: kernel (O, I, 3, 3), scales (O,), bias (O,).

    Both halves of a split channel have the same scale and so the same weights, which are rounded
    once.

    `exact` are the pre-activations of the float32 network at the same positions. Each unit's bias
    and scale are corrected so that its mean and its gain match them: rounding tends to weaken
    activations, and over thirteen layers that adds up.
    """
    n_outputs, n_inputs = stage.kernel.shape[:2]
    weights = (stage.kernel * coding.scales[:n_inputs, None, None]).reshape(n_outputs, -1)
    scales = rounding.choose_weight_scales(weights, seen.second)
    if compensate:
        whole = rounding.round_with_compensation(weights, scales, seen.second)
    else:
        whole = rounding.round_to_nearest(weights, scales)
    computed = seen.centred @ whole.T.astype(np.float32)
    mean = exact.mean(axis=0, dtype=np.float64)
    both = np.einsum("po,po->o", computed, exact - mean.astype(np.float32), dtype=np.float64)
    power = np.einsum("po,po->o", computed, computed, dtype=np.float64)
    gained = both / np.where(power > 0, power, 1)
    scales *= np.clip(gained / scales, *GAINS)
    bias = mean - (whole * scales[:, None]) @ seen.mean
    return whole.reshape(stage.kernel.shape).astype(np.int8), scales, bias


def _choose_coding(layer: str, ranges: Sequence[Ranges], reader: Convolution | None) -> Coding:
    """Choose how a layer's output is coded; `reader` is the quantized layer that reads it."""
    if reader is None and layer in SPLIT:
        # No quantized layer reads it, so the scales of the two halves may differ widely.
        largest = np.max([each.largest for each in ranges], axis=0)
        scales = BEYOND * np.full(
            len(largest), scales_from_ranges(largest, trust=0.0, margin=1.0).max()
        )
        importance, finenesses = np.ones(len(scales)), FINENESSES
    else:
        scales, finenesses = choose_scales(ranges) * REACH.get(layer, 1.0), HALVES
        importance = np.ones(len(scales))
        if reader is not None:
            importance = np.square(reader.kernel, dtype=np.float64).sum(axis=(0, 2, 3))
    n_split = round(SPLIT.get(layer, 0.0) * len(scales))
    return split(scales, ranges, importance, n_split, finenesses)


def _ranges(output: npt.NDArray[np.float32], *, seed: int) -> Ranges:
    """Collect the largest activations of each channel and random samples from (O, H, W)."""
    flat = output.reshape(len(output), -1)
    size = min(SAMPLES, flat.shape[1])
    positions = np.random.default_rng(seed).choice(flat.shape[1], size, replace=False)
    return Ranges(largest=flat.max(axis=1).astype(np.float64), samples=flat[:, positions].T)
