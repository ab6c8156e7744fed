"""From tf2onnx' graph to the one of the model file: same numbers, nothing superfluous.

Each function takes a graph and changes it in place.
"""

from collections.abc import Iterable

import onnx
from onnx import helper

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


def name_tensors(graph: onnx.GraphProto, rectified: Iterable[str]) -> None:
    """Name ``<layer>/nchw`` and ``<layer>/pre``, and every node after its output."""
    producers = producers_of(graph)
    renamed: dict[str, str] = {}
    wanted = set(rectified)
    for output in graph.output:
        name, layer = output.name, output.name
        if is_transpose(producers[name], TO_NHWC):
            name = producers[name].input[0]
            renamed[name] = f"{layer}/nchw"
        if layer in wanted:
            relu = producers[name]
            if relu.op_type != "Relu":
                raise AssertionError(f"{layer} is rectified, but a {relu.op_type} makes it")
            renamed[relu.input[0]] = f"{layer}/pre"
    rename(graph, renamed)
    for node in graph.node:
        node.name = node.output[0]


def is_transpose(node: onnx.NodeProto, perm: list[int]) -> bool:
    """Whether `node` is a Transpose by `perm`."""
    return node.op_type == "Transpose" and list(node.attribute[0].ints) == perm


def producers_of(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each tensor."""
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
