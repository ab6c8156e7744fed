"""Cut a model's graph down to the layers that were asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import onnx
from onnx import TensorProto, helper

from sparsefeat.errors import InputError
from sparsefeat.model.file import ModelFile
from sparsefeat.model.layer_names import PRE
from sparsefeat.model.layers import find_layer, layers_after_base
from sparsefeat.model.metadata import ModelLayer
from sparsefeat.types import Layer

Pool = Literal["none", "avg", "max"]
POOLS: tuple[str, ...] = get_args(Pool)
Size = tuple[int, int]

MAX_PIXELS = 1 << 24
MIN_EXTENT = 32  # five poolings halve it to 1


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A cut graph, the name of its input, and the output tensor of each requested layer."""

    model: onnx.ModelProto
    input: str
    tensors: dict[str, str]


def check_size(file: ModelFile, size: Size | None) -> Size | None:
    """Return the (height, width) that the network is fixed to, or None for any size.

    It is the size that the model was exported with, or else `size`.

    Raises
    ------
    InputError
        The model was exported with another size, or the size is below 32x32 or far too large.
    """
    height, width = file.metadata.input.height, file.metadata.input.width
    own = None if height is None or width is None else (height, width)
    if size is None:
        return own
    if own is not None and own != size:
        top = ", ".join(layer.name for layer in layers_after_base(file.metadata.layers))
        raise InputError(
            f"size {size[0]}x{size[1]} was asked for, but {file.path.name} takes {own[0]}x{own[1]} "
            f"only, because of the layers after its last pool ({top}); a model without them takes "
            "any size: sparsefeat export --no-top"
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            f"size {size[0]}x{size[1]} is too large, expected at most {MAX_PIXELS:,} pixels: "
            "a single activation of block1_conv1 would take gigabytes"
        )
    if min(size) < MIN_EXTENT:
        raise InputError(
            f"size {size[0]}x{size[1]} is too small, expected at least {MIN_EXTENT}x{MIN_EXTENT}"
        )
    return size


def output_layer(name: str, layer: ModelLayer, size: Size, pool: Pool) -> Layer:
    """Return the output `name` of a layer, with its shape for images of `size`."""
    if not layer.spatial:
        return Layer(name=name, shape=tuple(extent or 0 for extent in layer.shape))
    height, width, channels = layer.shape
    if channels is None:
        raise InputError(f"layer {layer.name} has a symbolic number of channels; export it again")
    if pool != "none":
        return Layer(name=name, shape=(channels,))
    stride = layer.stride or 1
    return Layer(
        name=name,
        shape=(
            size[0] // stride if height is None else height,
            size[1] // stride if width is None else width,
            channels,
        ),
    )


def cut(
    file: ModelFile,
    names: Sequence[str],
    *,
    pool: Pool = "none",
    size: Size | None = None,
    after: ModelLayer | None = None,
) -> Cut:
    """Make a graph of only the nodes and weights that the outputs `names` need.

    Parameters
    ----------
    names
        As `choose_layers` returns them. All outputs are NHWC, pre-activations too.
    pool
        Global pooling of spatial outputs over rows and columns, which makes them (N, C).
    size
        (height, width) to fix, in a graph where they are symbolic.
    after
        A spatial layer whose NHWC output becomes the graph's input, instead of the images.
    """
    nodes = list(file.graph.graph.node)
    graph_input = _input(file, size)
    if after is not None:
        nodes = _nodes_after(after, nodes)
        shape = _shape(after, "none", size)
        graph_input = helper.make_tensor_value_info(after.name, TensorProto.FLOAT, shape)
    tensors: dict[str, str] = {}
    for name in names:
        layer = find_layer(name, file.metadata.layers)
        nodes += _expose(name, layer, pool, tensors)
    nodes, initializers = _reached(nodes, file, set(tensors.values()))
    graph = helper.make_graph(
        nodes,
        file.graph.graph.name,
        [graph_input],
        [
            helper.make_tensor_value_info(
                tensor,
                TensorProto.FLOAT,
                _shape(find_layer(name, file.metadata.layers), pool, size),
            )
            for name, tensor in tensors.items()
        ],
        initializers,
    )
    model = helper.make_model(
        graph, opset_imports=file.graph.opset_import, ir_version=file.graph.ir_version
    )
    return Cut(model=model, input=graph_input.name, tensors=tensors)


def _nodes_after(layer: ModelLayer, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Replace the nodes that compute a layer by a Transpose of the new input to NCHW."""
    inner = f"{layer.name}/nchw"
    others = [node for node in nodes if not {layer.name, inner}.intersection(node.output)]
    return [helper.make_node("Transpose", [layer.name], [inner], perm=[0, 3, 1, 2]), *others]


def _expose(
    name: str, layer: ModelLayer, pool: Pool, tensors: dict[str, str]
) -> list[onnx.NodeProto]:
    """Return the nodes that turn an inner tensor into an output, and record the output's name."""
    if not layer.spatial or (pool == "none" and not name.endswith(PRE)):
        tensors[name] = name
        return []
    inner = name if name.endswith(PRE) else f"{name}/nchw"
    if pool == "none":
        tensors[name] = f"{name}/nhwc"
        return [helper.make_node("Transpose", [inner], [tensors[name]], perm=[0, 2, 3, 1])]
    tensors[name] = f"{name}/{pool}"
    pooled = f"{tensors[name]}/nchw"
    kind = {"avg": "GlobalAveragePool", "max": "GlobalMaxPool"}[pool]
    return [
        helper.make_node(kind, [inner], [pooled]),
        helper.make_node("Flatten", [pooled], [tensors[name]], axis=1),
    ]


def _reached(
    nodes: Sequence[onnx.NodeProto], file: ModelFile, wanted: set[str]
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Return the nodes and initializers that the wanted tensors depend on."""
    needed = set(wanted)
    reached = []
    for node in reversed(nodes):  # in topological order, so one pass is enough
        if needed.intersection(node.output):
            needed.update(node.input)
            reached.append(node)
    reached.reverse()
    return reached, [tensor for tensor in file.graph.graph.initializer if tensor.name in needed]


def _input(file: ModelFile, size: Size | None) -> onnx.ValueInfoProto:
    own = file.metadata.input
    height, width = size or (own.height or "height", own.width or "width")
    return helper.make_tensor_value_info(own.name, TensorProto.FLOAT, ["N", height, width, 3])


def _shape(layer: ModelLayer, pool: Pool, size: Size | None) -> list[int | str | None]:
    if size is None and layer.spatial and pool == "none":
        return ["N", *layer.shape]
    return ["N", *output_layer(layer.name, layer, size or (0, 0), pool).shape]
