"""A layer at a time, as ONNX Runtime computes it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from sparsefeat_export.comparison import open_session

Activation = npt.NDArray[np.float32]
View = npt.NDArray[np.float32] | npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Pooled = TypeVar("Pooled", bound=View)


def convolution(
    kernel: npt.NDArray[np.floating], bias: npt.NDArray[np.floating]
) -> Callable[[View], Activation]:
    """Make a function of one view, (I, H, W), to its rectified 3x3 convolution, (O, H, W)."""
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
    """Take the maximum of each 2x2 square of (C, H, W); an odd edge is dropped."""
    height, width = view.shape[1:]
    even = view[:, : height // 2 * 2, : width // 2 * 2]
    rows = np.maximum(even[:, ::2], even[:, 1::2])
    return cast(Pooled, np.maximum(rows[:, :, ::2], rows[:, :, 1::2]))
