"""From tf2onnx' graph to the one of the model file: same numbers, nothing superfluous.

Each function takes a graph and changes it in place.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

BATCH = "N"

TO_NCHW = [0, 3, 1, 2]
TO_NHWC = [0, 2, 3, 1]


def rewire_round_trips(graph: onnx.GraphProto) -> None:
    """Let every reader of NCHW -> NHWC -> NCHW read the first, and drop the way back."""
    producers = producers_of(graph)
    renamed: dict[str, str] = {}
    for node in graph.node:
        if not is_transpose(node, TO_NCHW):
            continue
        before = producers.get(node.input[0])
        if before is not None and is_transpose(before, TO_NHWC):
            renamed[node.output[0]] = before.input[0]
    rename_inputs(graph, renamed)
    drop_unread(graph)


def transpose_single_positions(graph: onnx.GraphProto, layers: Iterable[Mapping[str, Any]]) -> None:
    """Write Reshape as the Transpose that it stands for where a map has one row and one column."""
    shapes = {one.name: one.dims[0] for one in graph.initializer if len(one.dims) == 1}
    single = {layer["name"] for layer in layers if layer["shape"][:-1] == [1, 1]}
    for node in graph.node:
        if node.op_type != "Reshape" or shapes.get(node.input[1]) != 4:
            continue
        if node.output[0] in single:
            perm = TO_NHWC
        elif node.input[0] in single:
            perm = TO_NCHW
        else:
            continue
        turned = helper.make_node("Transpose", [node.input[0]], [node.output[0]], perm=perm)
        node.CopyFrom(turned)


def explicit_padding(graph: onnx.GraphProto) -> None:
    """Write a convolution's padding as numbers; ONNX deprecates ``auto_pad``."""
    for node in graph.node:
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type != "Conv" or attributes.get("auto_pad") != b"SAME_UPPER":
            continue
        if set(attributes["strides"]) | set(attributes["dilations"]) != {1}:
            continue  # its padding depends on the input's size
        kept = [one for one in node.attribute if one.name != "auto_pad"]
        del node.attribute[:]
        node.attribute.extend(kept)
        extents = attributes["kernel_shape"]
        before = [(extent - 1) // 2 for extent in extents]
        after = [extent // 2 for extent in extents]
        node.attribute.append(helper.make_attribute("pads", before + after))


def static_flatten(graph: onnx.GraphProto, layers: Iterable[Mapping[str, Any]]) -> None:
    """Reshape to (-1, features) where tf2onnx computes that shape from the input's."""
    producers = producers_of(graph)
    for layer in layers:
        node = producers[layer["name"]]
        if layer["kind"] == "flatten" and node.op_type == "Reshape" and None not in layer["shape"]:
            node.input[1] = f"{layer['name']}/shape"
            shape = np.array([-1, *layer["shape"]], dtype=np.int64)
            graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))
    drop_unread(graph)


def settle_copies(graph: onnx.GraphProto) -> None:
    """Let a layer that changes nothing at inference be the copy of the one before it.

    tf2onnx makes one tensor of both and the other an Identity of it, in either order.
    """
    order = {output.name: index for index, output in enumerate(graph.output)}
    for node in graph.node:
        if node.op_type != "Identity" or not {node.input[0], node.output[0]} <= order.keys():
            continue
        original, copy = node.input[0], node.output[0]
        if order[copy] < order[original]:
            rename(graph, {original: copy, copy: original})


def name_tensors(graph: onnx.GraphProto, layers: Iterable[Mapping[str, Any]]) -> None:
    """Name ``<layer>/nchw`` and ``<layer>/pre``, and every node after its output."""
    for layer in layers:
        name = layer["name"]
        if len(layer["shape"]) == 3:
            _channels_first(graph, name)
            name = f"{name}/nchw"
        if layer["rectified"]:
            relu = producers_of(graph)[name]
            if relu.op_type != "Relu":
                raise AssertionError(f"{name} is rectified, but a {relu.op_type} makes it")
            _name_input(graph, relu, f"{layer['name']}/pre")
    for node in graph.node:
        if is_transpose(node, TO_NCHW) and node.input[0] == "images":
            rename(graph, {node.output[0]: "images/nchw"})
    sort(graph)
    for node in graph.node:
        node.name = node.output[0]


def _channels_first(graph: onnx.GraphProto, layer: str) -> None:
    """See that a spatial layer is the transpose of its ``<layer>/nchw``."""
    producers = producers_of(graph)
    node = producers[layer]
    if not is_transpose(node, TO_NHWC):
        # tf2onnx computed it with its channels last.
        nchw = f"{layer}/turned"
        if node.op_type in ("Identity", "Relu"):  # the same in either order of axes
            before = producers[node.input[0]]
            if is_transpose(before, TO_NHWC):
                node.input[0] = before.input[0]
            else:
                turned = f"{layer}/input"
                _append_transpose(graph, node.input[0], turned, TO_NCHW)
                node.input[0] = turned
            node.output[0] = nchw
        else:
            rename(graph, {layer: f"{layer}/nhwc"})
            _append_transpose(graph, f"{layer}/nhwc", nchw, TO_NCHW)
        _append_transpose(graph, nchw, layer, TO_NHWC)
    _name_input(graph, producers_of(graph)[layer], f"{layer}/nchw")


def _append_transpose(graph: onnx.GraphProto, tensor: str, turned: str, perm: list[int]) -> None:
    graph.node.append(helper.make_node("Transpose", [tensor], [turned], perm=perm))


def _name_input(graph: onnx.GraphProto, node: onnx.NodeProto, name: str) -> None:
    """Name the tensor that `node` reads; where it has a public name, give it a copy of that."""
    tensor = node.input[0]
    public = {output.name for output in graph.output}
    if tensor in public or tensor.endswith(("/nchw", "/pre")):
        graph.node.append(helper.make_node("Identity", [tensor], [name]))
        node.input[0] = name
    else:
        rename(graph, {tensor: name})


def sort(graph: onnx.GraphProto) -> None:
    """Put every node behind those whose outputs it reads, else leave them in their order."""
    made = {tensor.name for tensor in [*graph.initializer, *graph.input]} | {""}
    pending, ordered = list(graph.node), []
    while pending:
        ready = next(node for node in pending if made.issuperset(node.input))
        pending.remove(ready)
        ordered.append(ready)
        made.update(ready.output)
    keep(graph, ordered)


def is_transpose(node: onnx.NodeProto, perm: list[int]) -> bool:
    """Whether `node` is a Transpose by `perm`."""
    return node.op_type == "Transpose" and [list(one.ints) for one in node.attribute] == [perm]


def producers_of(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Map each tensor to the node that makes it."""
    return {name: node for node in graph.node for name in node.output}


def rename_inputs(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    """Let nodes read other tensors than they did."""
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def rename(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    """Give tensors other names, where they are made and where they are read."""
    rename_inputs(graph, renamed)
    for node in graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]


def drop_unread(graph: onnx.GraphProto) -> None:
    """Drop the nodes and initializers that no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    keep(graph, kept[::-1])
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def keep(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Make `nodes` the graph's nodes."""
    nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


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


def evaluate(node: onnx.NodeProto, feeds: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Compute the outputs of `node` by ONNX' own reference implementation.

    Examples
    --------
    >>> node = onnx.helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    >>> evaluate(node, {"x": np.zeros((2, 3))})[0].shape
    (3, 2)
    """
    from onnx.reference import ReferenceEvaluator

    outputs = ReferenceEvaluator(node).run(None, feeds)
    return [np.asarray(output) for output in outputs]
