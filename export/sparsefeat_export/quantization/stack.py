"""The part of a graph that is quantized: the chain of convolutions and poolings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from sparsefeat_export.comparison import open_session
from sparsefeat_export.errors import WeightsError
from sparsefeat_export.graph import TO_NCHW, is_transpose

Activation = npt.NDArray[np.float32]
View = npt.NDArray[np.float32] | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Pooled = TypeVar("Pooled", bound=View)


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A rectified 3x3 convolution of stride 1: kernel (O, I, 3, 3), bias (O,)."""

    name: str
    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """A max pooling of 2x2 with stride 2."""

    name: str


Stage = Convolution | Pooling


def read_stack(model: onnx.ModelProto) -> list[Stage]:
    """Follow the graph from its input as long as it consists of VGG16's convolutions and pools.

    Parameters
    ----------
    model
        An exported float32 model, with its weights in the graph.

    Raises
    ------
    WeightsError
        The model does not start with two convolutions, or has weights that are not finite.
    """
    weights = {one.name: one for one in model.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    transposes = [node for node in readers.get("images", []) if is_transpose(node, TO_NCHW)]
    tensor = transposes[0].output[0] if len(transposes) == 1 else ""
    stages: list[Stage] = []
    while stage := _stage(tensor, readers, weights):
        stages.append(stage)
        tensor = f"{stage.name}/nchw"
    if not all(isinstance(stage, Convolution) for stage in stages[:2]) or len(stages) < 2:
        raise WeightsError(
            "the model does not start with two 3x3 convolutions, expected a VGG16 that sparsefeat "
            "exported"
        )
    return stages


def _stage(
    tensor: str, readers: dict[str, list[onnx.NodeProto]], weights: dict[str, onnx.TensorProto]
) -> Stage | None:
    """Return the convolution or pooling whose input is a tensor, or None if it has another."""
    for node in readers.get(tensor, []):
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        layer, _, kind = node.output[0].rpartition("/")
        if node.op_type == "Conv" and kind == "pre" and _is_plain(attributes):
            kernel, bias = (_array(weights, name) for name in (*node.input[1:], "", "")[:2])
            rectified = [one.output[0] for one in readers.get(node.output[0], [])]
            if kernel is None or bias is None or rectified != [f"{layer}/nchw"]:
                return None
            if kernel.shape[2:] == (3, 3):
                if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                    raise WeightsError(
                        f"{layer} has weights that are not finite: export the model again"
                    )
                return Convolution(name=layer, kernel=kernel, bias=bias)
        squares = attributes.get("kernel_shape") == attributes.get("strides") == [2, 2]
        padded = any(attributes.get("pads", ())) or attributes.get("ceil_mode", 0)
        if node.op_type == "MaxPool" and kind == "nchw" and squares and not padded:
            return Pooling(name=layer)
    return None


def _is_plain(attributes: Mapping[str, Any]) -> bool:
    """Return whether a convolution has stride 1, one group, and a zero padding of 1."""
    ones = all(attributes.get(name, [1, 1]) == [1, 1] for name in ("strides", "dilations"))
    return ones and attributes.get("pads") == [1] * 4 and attributes.get("group", 1) == 1


def _array(weights: Mapping[str, onnx.TensorProto], name: str) -> npt.NDArray[np.float32] | None:
    return numpy_helper.to_array(weights[name]) if name in weights else None


def convolution(
    kernel: npt.NDArray[np.floating], bias: npt.NDArray[np.floating]
) -> Callable[[View], Activation]:
    """Return a function that computes the rectified 3x3 convolution, (O, H, W), of (I, H, W)."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel", "bias"], ["pre"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["pre"], ["y"]),
        ],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, kernel.shape[1], "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, kernel.shape[0], "H", "W"])],
        [
            numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = open_session(model, Path())

    def run(view: View) -> Activation:
        (output,) = session.run(["y"], {"x": view[np.newaxis].astype(np.float32, copy=False)})
        rectified: Activation = output[0]
        return rectified

    return run


def pooled(view: Pooled) -> Pooled:
    """Compute the maxima of 2x2 elements of (C, H, W); an odd last row or column is dropped."""
    height, width = view.shape[1:]
    even = view[:, : height // 2 * 2, : width // 2 * 2]
    rows = np.maximum(even[:, ::2], even[:, 1::2])
    return cast(Pooled, np.maximum(rows[:, :, ::2], rows[:, :, 1::2]))
