"""The part of a graph that is quantized: convolutions and poolings, one behind the other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from sparsefeat_export.errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A rectified 3x3 convolution of stride 1: kernel (O, I, 3, 3), bias (O,)."""

    name: str
    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """A 2x2 maximum of stride 2."""

    name: str


Stage = Convolution | Pooling


def read_stack(model: onnx.ModelProto) -> list[Stage]:
    """Follow the graph from the pictures for as long as it is VGG16's stack.

    Parameters
    ----------
    model
        A float32 model that was exported, with its weights.

    Raises
    ------
    WeightsError
        It doesn't begin with two convolutions.
    """
    weights = {one.name: one for one in model.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        readers.setdefault(node.input[0], []).append(node)
    (turn,) = readers["images"]
    tensor = turn.output[0]
    stages: list[Stage] = []
    while stage := _stage(readers.get(tensor, []), weights):
        stages.append(stage)
        tensor = f"{stage.name}/nchw"
    if not all(isinstance(stage, Convolution) for stage in stages[:2]) or len(stages) < 2:
        raise WeightsError("the model does not begin with two 3x3 convolutions, as VGG16 does")
    return stages


def _stage(nodes: list[onnx.NodeProto], weights: dict[str, onnx.TensorProto]) -> Stage | None:
    for node in nodes:
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        layer = node.output[0].rpartition("/")[0]
        if node.op_type == "Conv" and node.output[0].endswith("/pre"):
            kernel = numpy_helper.to_array(weights[node.input[1]])
            plain = attributes["pads"] == [1] * 4 and attributes.get("group", 1) == 1
            if plain and kernel.shape[2:] == (3, 3) and attributes.get("strides") in (None, [1, 1]):
                bias = numpy_helper.to_array(weights[node.input[2]])
                return Convolution(name=layer, kernel=kernel, bias=bias)
        if node.op_type == "MaxPool" and attributes["kernel_shape"] == [2, 2]:
            return Pooling(name=layer)
    return None
