"""The shapes that a graph declares."""

from typing import Any

import onnx
from onnx import TensorProto, helper

BATCH = "N"


def declare_shapes(
    model: onnx.ModelProto, layers: list[dict[str, Any]], height: int | None, width: int | None
) -> onnx.ModelProto:
    """Declare the input and the outputs, and infer what lies between.

    The batch is the symbol ``N``. Without `height` and `width` they are symbols too, and a
    layer's extents are named after what they are: ``height//2``.
    """
    graph = model.graph
    images = [BATCH, height or "height", width or "width", 3]
    outputs = []
    for layer in layers:
        shape = layer["shape"]
        if len(shape) == 3:
            shape = [
                extent or (f"{name}//{layer['stride']}" if layer["stride"] > 1 else name)
                for extent, name in zip(shape, ("height", "width", ""), strict=True)
            ]
        outputs.append(
            helper.make_tensor_value_info(layer["name"], TensorProto.FLOAT, [BATCH, *shape])
        )
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info("images", TensorProto.FLOAT, images))
    graph.output.extend(outputs)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
