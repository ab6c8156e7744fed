"""Write the quantized graph: the same layers, with convolutions and poolings in integers.

Inner tensors hold codes. Every integer tensor has scale 1 and zero point 0: the scales are folded
into the weights of the next layer, at no cost. A split channel takes two channels of the inner
tensor; the second halves come after all first halves. ``<layer>/nchw``, and so a declared output,
is the code of each channel (for a split channel the sum of both halves) times its first scale.
``<layer>/pre`` is the output of the convolution before rounding. These tensors are only computed
if they are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from sparsefeat_export.graph import sort
from sparsefeat_export.model_file import write_external
from sparsefeat_export.quantization.calibration import Quantized
from sparsefeat_export.quantization.scales import Coding
from sparsefeat_export.quantization.stack import Stage
from sparsefeat_export.scaling import Scaling

ONE, ZERO = "one", "zero"


def scales_name(convolution: str) -> str:
    """Return the name of the tensor of a convolution's channel scales, float32 (C, 1, 1).

    The engine finds the scales by this name, and stores codes instead of values.
    """
    return f"{convolution}/scales/map"


def quantized_graph(
    model: onnx.ModelProto,
    stages: Sequence[Stage],
    convolutions: Sequence[Quantized],
    scaling: Scaling,
    data: Path,
) -> onnx.ModelProto:
    """Replace the convolutions and poolings of `model`, and write all weights to `data`.

    `model` has its weights in the graph. The weights of the first convolution apply to pixel values
    minus the value that is scaled to 0.
    """
    written = _Written()
    written.weights[ONE] = np.float32(1)
    written.weights[ZERO] = np.uint8(0)
    by_name = {one.name: one for one in convolutions}
    replaced = {f"{stage.name}/nchw" for stage in stages}
    replaced |= {f"{stage.name}/pre" for stage in stages}
    others = [node for node in model.graph.node if node.output[0] not in replaced]
    (transpose,) = (node for node in others if node.input[0] == "images")
    first = convolutions[0]
    by_name[first.name] = _reading_pixels(first, scaling)
    tensor = _pixels(transpose.output[0], scaling, written)
    for stage in stages:
        one = by_name.get(stage.name)
        if one is None:
            tensor = _pooling(stage.name, tensor, written)
        else:
            pads = 0 if one.name == first.name else 1
            tensor = _convolution(one, tensor, pads, written)
            last = one
        _declared(stage.name, last, written)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*others, *written.nodes])
    floats = {one.name: one for one in graph.initializer}
    del graph.initializer[:]
    _bind_and_sort(graph, written.weights, floats, data)
    return onnx.shape_inference.infer_shapes(result, check_type=True, strict_mode=True)


def _bind_and_sort(
    graph: onnx.GraphProto,
    weights: dict[str, Any],
    floats: dict[str, onnx.TensorProto],
    data: Path,
) -> None:
    """Sort the nodes and add the initializers that they read."""
    read = {name for node in graph.node for name in node.input}
    read -= {name for node in graph.node for name in node.output}
    arrays = dict(weights)
    for name, tensor in floats.items():
        if name in read and name not in arrays:
            arrays[name] = numpy_helper.to_array(tensor)
    # Small tensors, such as the padding that shapes depend on, stay in the graph.
    large = {name: array for name, array in arrays.items() if array.nbytes > 64}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in arrays.items()
        if name not in large
    )
    graph.initializer.extend(write_external(data, large.items(), location=data.name))
    sort(graph)
    for node in graph.node:
        node.name = node.output[0]


@dataclass
class _Written:
    """The nodes and weights written so far."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, name: str, array: npt.NDArray[Any]) -> str:
        self.weights[name] = np.ascontiguousarray(array)
        return name


def _pixels(images: str, scaling: Scaling, written: _Written) -> str:
    """Write nodes that turn scaled images back into whole pixel values.

    The padding around the image must be the pixel value that is scaled to 0, for example the mean
    of ``caffe``.
    """
    border = written.weight("images/border", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    tensor = written.node("Pad", [images, border], "images/padded")
    if (scaling.levels != 1).any():
        levels = written.weight("images/levels", scaling.levels[:, None, None])
        tensor = written.node("Mul", [tensor, levels], "images/leveled")
    zero = written.weight("images/mean", scaling.zero[:, None, None])
    return _rounded(written.node("Add", [tensor, zero], "images/pixels"), "images", written)


def _reading_pixels(one: Quantized, scaling: Scaling) -> Quantized:
    """Fold the subtraction of the pixel value that is scaled to 0 into the bias."""
    zero = one.kernel.sum(axis=(2, 3), dtype=np.float64) @ scaling.zero.astype(np.float64)
    return replace(one, bias=one.bias - one.kernel_scales * zero)


def _convolution(one: Quantized, source: str, pads: int, written: _Written) -> str:
    """Write a rectified convolution and its pre-activation; return the name of its codes."""
    name, coding = one.name, one.coding
    kernel, offset = f"{name}/kernel", f"{name}/bias"
    bias = (one.bias[coding.channel] - coding.beyond) / coding.scales
    scale = (one.kernel_scales[coding.channel] / coding.scales).astype(np.float32)
    kernel_scale = written.weight(f"{kernel}/scale", scale)
    whole = written.weight(f"{kernel}/int8", one.kernel[coding.channel])
    zeros = written.weight(f"{kernel}/zero", np.zeros(len(scale), dtype=np.int8))
    written.node("DequantizeLinear", [whole, kernel_scale, zeros], kernel, axis=0)
    limit = np.iinfo(np.int32).max
    rounded = np.clip(np.rint(bias / scale), -limit, limit).astype(np.int32)
    whole = written.weight(f"{offset}/int32", rounded)
    zeros = written.weight(f"{offset}/zero", np.zeros(len(scale), dtype=np.int32))
    written.node("DequantizeLinear", [whole, kernel_scale, zeros], offset, axis=0)
    convolved = written.node(
        "Conv", [source, kernel, offset], f"{name}/convolved", kernel_shape=[3, 3], pads=[pads] * 4
    )
    first = convolved
    n_channels = len(one.kernel)
    if len(coding.channel) > n_channels:
        first = _gathered(convolved, f"{name}/first", np.arange(n_channels), written)
    scales = coding.scales[:n_channels].astype(np.float32)
    scale_map = written.weight(scales_name(name), scales[:, None, None])
    written.node("Mul", [first, scale_map], f"{name}/pre")
    return _rounded(written.node("Relu", [convolved], f"{name}/rectified"), name, written)


def _pooling(name: str, source: str, written: _Written) -> str:
    most = written.node("MaxPool", [source], f"{name}/most", kernel_shape=[2, 2], strides=[2, 2])
    return _rounded(most, name, written)


def _rounded(tensor: str, name: str, written: _Written) -> str:
    whole = written.node("QuantizeLinear", [tensor, ONE, ZERO], f"{name}/uint8")
    return written.node("DequantizeLinear", [whole, ONE, ZERO], f"{name}/counted")


def _declared(name: str, one: Quantized, written: _Written) -> None:
    """Write ``<layer>/nchw`` of a layer whose codes are those of the convolution `one`."""
    coding = one.coding
    n_channels, n_codes = len(one.kernel), len(coding.channel)
    if n_codes == n_channels:
        scales = written.weight(f"{one.name}/scales", coding.scales.astype(np.float32))
        zeros = written.weight(f"{one.name}/zero", np.zeros(n_codes, dtype=np.uint8))
        written.node("DequantizeLinear", [f"{name}/uint8", scales, zeros], f"{name}/nchw", axis=1)
        return
    # Don't use DequantizeLinear per channel here: ONNX Runtime moves it across the Gather nodes.
    # Multiply by the scales last: OpenVINO would approximate them if they came directly after the
    # codes. A channel that isn't split gathers its only code twice, and the second time it is
    # multiplied by 0.
    second = np.arange(n_channels)
    second[coding.channel[n_channels:]] = np.arange(n_channels, n_codes)
    fine = _gathered(f"{name}/counted", f"{name}/fine", np.arange(n_channels), written)
    beyond = _gathered(f"{name}/counted", f"{name}/beyond", second, written)
    times = written.weight(f"{one.name}/times", _times(coding, n_channels)[:, None, None])
    beyond = written.node("Mul", [beyond, times], f"{name}/beyond/fine")
    whole = written.node("Add", [fine, beyond], f"{name}/whole")
    written.node("Mul", [whole, scales_name(one.name)], f"{name}/nchw")


def _times(coding: Coding, n_channels: int) -> npt.NDArray[np.float32]:
    """Return each channel's coarse scale as a multiple of its fine scale; 0 without a split."""
    times = np.zeros(n_channels, np.float32)
    split = coding.channel[n_channels:]
    times[split] = np.rint(coding.scales[n_channels:] / coding.scales[split])
    return times


def _gathered(tensor: str, output: str, channels: npt.NDArray[np.int64], written: _Written) -> str:
    indices = written.weight(f"{output}/channels", channels.astype(np.int64))
    return written.node("Gather", [tensor, indices], output, axis=1)
