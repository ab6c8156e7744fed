"""Clean up the graph of tf2onnx without changing what it computes.

Each function changes the graph in place.
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
    """Remove the transposes NCHW -> NHWC -> NCHW between layers; readers use the NCHW tensor."""
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
    """Replace a Reshape by the equivalent Transpose for maps of a single position."""
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
        transpose = helper.make_node("Transpose", [node.input[0]], [node.output[0]], perm=perm)
        node.CopyFrom(transpose)


def explicit_padding(graph: onnx.GraphProto) -> None:
    """Replace the deprecated ``auto_pad`` of convolutions by explicit ``pads``."""
    for node in graph.node:
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type != "Conv" or attributes.get("auto_pad") != b"SAME_UPPER":
            continue
        if set(attributes["strides"]) | set(attributes["dilations"]) != {1}:
            continue  # the padding depends on the input's size
        others = [one for one in node.attribute if one.name != "auto_pad"]
        del node.attribute[:]
        node.attribute.extend(others)
        extents = attributes["kernel_shape"]
        before = [(extent - 1) // 2 for extent in extents]
        after = [extent // 2 for extent in extents]
        node.attribute.append(helper.make_attribute("pads", before + after))


def static_flatten(graph: onnx.GraphProto, layers: Iterable[Mapping[str, Any]]) -> None:
    """Let Flatten layers reshape to the constant shape (-1, features)."""
    producers = producers_of(graph)
    for layer in layers:
        node = producers[layer["name"]]
        if layer["kind"] == "flatten" and node.op_type == "Reshape" and None not in layer["shape"]:
            node.input[1] = f"{layer['name']}/shape"
            shape = np.array([-1, *layer["shape"]], dtype=np.int64)
            graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))
    drop_unread(graph)


def settle_copies(graph: onnx.GraphProto) -> None:
    """Make a layer that does nothing at inference an Identity of the layer before it.

    tf2onnx computes one of the two tensors and makes the other an Identity of it, in either order.
    """
    order = {output.name: index for index, output in enumerate(graph.output)}
    for node in graph.node:
        if node.op_type != "Identity" or not {node.input[0], node.output[0]} <= order.keys():
            continue
        original, copy = node.input[0], node.output[0]
        if order[copy] < order[original]:
            rename(graph, {original: copy, copy: original})


def name_tensors(graph: onnx.GraphProto, layers: Iterable[Mapping[str, Any]]) -> None:
    """Name tensors ``<layer>/nchw`` and ``<layer>/pre``, and every node after its output."""
    for layer in layers:
        name = layer["name"]
        if len(layer["shape"]) == 3:
            _channels_first(graph, name)
            name = f"{name}/nchw"
        if layer["rectified"]:
            relu = producers_of(graph)[name]
            if relu.op_type != "Relu":
                raise AssertionError(f"{name} is rectified, but a {relu.op_type} computes it")
            _name_input(graph, relu, f"{layer['name']}/pre")
    for node in graph.node:
        if is_transpose(node, TO_NCHW) and node.input[0] == "images":
            rename(graph, {node.output[0]: "images/nchw"})
    sort(graph)
    for node in graph.node:
        node.name = node.output[0]


def _channels_first(graph: onnx.GraphProto, layer: str) -> None:
    """Make a spatial layer's output the transpose of a tensor ``<layer>/nchw``."""
    producers = producers_of(graph)
    node = producers[layer]
    if not is_transpose(node, TO_NHWC):
        # tf2onnx computed it with channels last.
        nchw = f"{layer}/turned"
        if node.op_type in ("Identity", "Relu"):  # elementwise: the order of axes doesn't matter
            before = producers[node.input[0]]
            if is_transpose(before, TO_NHWC):
                node.input[0] = before.input[0]
            else:
                transposed = f"{layer}/input"
                _append_transpose(graph, node.input[0], transposed, TO_NCHW)
                node.input[0] = transposed
            node.output[0] = nchw
        else:
            rename(graph, {layer: f"{layer}/nhwc"})
            _append_transpose(graph, f"{layer}/nhwc", nchw, TO_NCHW)
        _append_transpose(graph, nchw, layer, TO_NHWC)
    _name_input(graph, producers_of(graph)[layer], f"{layer}/nchw")


def _append_transpose(graph: onnx.GraphProto, source: str, target: str, perm: list[int]) -> None:
    graph.node.append(helper.make_node("Transpose", [source], [target], perm=perm))


def _name_input(graph: onnx.GraphProto, node: onnx.NodeProto, name: str) -> None:
    """Name the tensor that `node` reads; if it has a public name already, read a copy of it."""
    tensor = node.input[0]
    public = {output.name for output in graph.output}
    if tensor in public or tensor.endswith(("/nchw", "/pre")):
        graph.node.append(helper.make_node("Identity", [tensor], [name]))
        node.input[0] = name
    else:
        rename(graph, {tensor: name})


def sort(graph: onnx.GraphProto) -> None:
    """Sort the nodes topologically, otherwise keeping their order."""
    made = {tensor.name for tensor in [*graph.initializer, *graph.input]} | {""}
    pending, ordered = list(graph.node), []
    while pending:
        ready = next(node for node in pending if made.issuperset(node.input))
        pending.remove(ready)
        ordered.append(ready)
        made.update(ready.output)
    keep(graph, ordered)


def is_transpose(node: onnx.NodeProto, perm: list[int]) -> bool:
    """Return whether `node` is a Transpose by `perm`."""
    return node.op_type == "Transpose" and [list(one.ints) for one in node.attribute] == [perm]


def producers_of(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return the node that computes each tensor, by the tensor's name."""
    return {name: node for node in graph.node for name in node.output}


def rename_inputs(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    """Rename tensors where nodes read them."""
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def rename(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    """Rename tensors where nodes compute them and where nodes read them."""
    rename_inputs(graph, renamed)
    for node in graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]


def drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the nodes and initializers that no output needs."""
    needed = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    keep(graph, nodes[::-1])
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def keep(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Replace the nodes of the graph by `nodes`."""
    nodes = list(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def declare_shapes(
    model: onnx.ModelProto, layers: list[dict[str, Any]], height: int | None, width: int | None
) -> onnx.ModelProto:
    """Declare the shapes of the input and the outputs, and infer those of all other tensors.

    The batch size is the symbol ``N``. If `height` and `width` are None, they are symbols too, and
    the extents of a layer are named by formula, for example ``height//2``.
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
    """Compute the outputs of `node` with the reference implementation of ONNX.

    Examples
    --------
    >>> node = onnx.helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    >>> evaluate(node, {"x": np.zeros((2, 3))})[0].shape
    (3, 2)
    """
    from onnx.reference import ReferenceEvaluator

    outputs = ReferenceEvaluator(node).run(None, feeds)
    return [np.asarray(output) for output in outputs]
