"""The same graph with its stack in integers.

Inner tensors count in steps of their channel, so every integer tensor has scale 1 and zero point
0: what a step is worth lies in the weights of the layer behind, at no cost. A declared output, or
``<layer>/nchw``, is the integer tensor times the steps; ``<layer>/pre`` is what the convolution
gives before it is rounded. Whoever doesn't ask for them doesn't compute them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from sparsefeat_export.external import write_external
from sparsefeat_export.graph import sort
from sparsefeat_export.quantization.calibration import Quantized
from sparsefeat_export.quantization.stack import Stage
from sparsefeat_export.quantization.steps import LEVELS

ONE, ZERO = "one", "zero"


def quantized_graph(
    model: onnx.ModelProto,
    stages: Sequence[Stage],
    convolutions: Sequence[Quantized],
    data: Path,
) -> onnx.ModelProto:
    """Replace the stack of `model`, which has its weights, and write all weights to `data`."""
    written = _Written()
    written.weights[ONE] = np.float32(1)
    written.weights[ZERO] = np.uint8(0)
    by_name = {one.name: one for one in convolutions}
    replaced = {f"{stage.name}/nchw" for stage in stages}
    replaced |= {f"{stage.name}/pre" for stage in stages}
    kept = [node for node in model.graph.node if node.output[0] not in replaced]
    (turn,) = (node for node in kept if node.input[0] == "images")
    tensors = [turn.output[0]]
    for stage in stages:
        one = by_name.get(stage.name)
        if one is None:
            tensors = [_pooling(stage.name, each, written) for each in tensors]
        else:
            tensors = _convolution(one, tensors[0], written)
            last = one
        _declared(stage.name, last, tensors, written)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*kept, *written.nodes])
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
    """Put nodes in order and give the graph the initializers that they read."""
    read = {name for node in graph.node for name in node.input}
    read -= {name for node in graph.node for name in node.output}
    arrays = dict(weights)
    for name, tensor in floats.items():
        if name in read and name not in arrays:
            arrays[name] = numpy_helper.to_array(tensor)
    large = {name: array for name, array in arrays.items() if array.nbytes >= 64}
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
    """Nodes and weights so far."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, name: str, array: npt.NDArray[Any]) -> str:
        self.weights[name] = np.ascontiguousarray(array)
        return name


def _convolution(one: Quantized, source: str, written: _Written) -> list[str]:
    """Write a convolution; the names of its outputs in steps, fine and (the last's) coarse."""
    name = one.name
    fine = _counted(one, source, f"{name}", one.steps, one.bias, written)
    scale = written.weight(f"{name}/steps/map", one.steps.astype(np.float32)[:, None, None])
    written.node("Mul", [f"{name}/convolved", scale], f"{name}/pre")
    if one.coarse is None:
        return [fine]
    bias = one.bias - LEVELS * one.steps
    return [fine, _counted(one, source, f"{name}/beyond", one.coarse, bias, written)]


def _counted(
    one: Quantized,
    source: str,
    name: str,
    steps: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    written: _Written,
) -> str:
    """Write a rectified convolution whose output counts `steps`."""
    kernel, offset = f"{name}/kernel", f"{name}/bias"
    if one.kernel.dtype == np.int8:
        scale = (one.kernel_steps / steps).astype(np.float32)
        scales = written.weight(f"{kernel}/scale", scale)
        whole = written.weight(f"{one.name}/kernel/int8", one.kernel)
        zeros = written.weight(f"{kernel}/zero", np.zeros(len(scale), dtype=np.int8))
        written.node("DequantizeLinear", [whole, scales, zeros], kernel, axis=0)
        limit = np.iinfo(np.int32).max
        counted = np.clip(np.rint(bias / steps / scale), -limit, limit).astype(np.int32)
        whole = written.weight(f"{offset}/int32", counted)
        zeros = written.weight(f"{offset}/zero", np.zeros(len(scale), dtype=np.int32))
        written.node("DequantizeLinear", [whole, scales, zeros], offset, axis=0)
    else:
        written.weight(kernel, (one.kernel / steps[:, None, None, None]).astype(np.float32))
        written.weight(offset, (bias / steps).astype(np.float32))
    convolved = written.node(
        "Conv", [source, kernel, offset], f"{name}/convolved", kernel_shape=[3, 3], pads=[1] * 4
    )
    return _rounded(written.node("Relu", [convolved], f"{name}/rectified"), name, written)


def _pooling(name: str, source: str, written: _Written) -> str:
    if source.endswith("/beyond/counted"):
        name = f"{name}/beyond"
    most = written.node("MaxPool", [source], f"{name}/most", kernel_shape=[2, 2], strides=[2, 2])
    return _rounded(most, name, written)


def _rounded(tensor: str, name: str, written: _Written) -> str:
    whole = written.node("QuantizeLinear", [tensor, ONE, ZERO], f"{name}/uint8")
    return written.node("DequantizeLinear", [whole, ONE, ZERO], f"{name}/counted")


def _declared(name: str, one: Quantized, tensors: list[str], written: _Written) -> None:
    """Write ``<layer>/nchw``: the integers times their steps."""
    parts = []
    zeros = written.weight(f"{one.name}/zero", np.zeros(len(one.steps), dtype=np.uint8))
    for tensor, steps in zip(tensors, (one.steps, one.coarse), strict=False):
        assert steps is not None
        part = tensor.removesuffix("/counted")
        worth = written.weight(f"{part}/steps", steps.astype(np.float32))
        output = f"{name}/nchw" if len(tensors) == 1 else f"{part}/part"
        written.node("DequantizeLinear", [f"{part}/uint8", worth, zeros], output, axis=1)
        parts.append(output)
    if len(parts) > 1:
        written.node("Add", parts, f"{name}/nchw")
