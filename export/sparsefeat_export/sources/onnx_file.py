"""Read weights from ONNX files that tf2onnx wrote for a Keras VGG16."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx

from sparsefeat_export.errors import WeightsError, first_line
from sparsefeat_export.graph import evaluate
from sparsefeat_export.model_file import load_tensor, read_model
from sparsefeat_export.scaling import Scaling, from_json, measure
from sparsefeat_export.sources.weights import Array, Found

# Operators that tf2onnx leaves between a weight and its use. None of them makes more elements than
# it reads, so it is safe to evaluate them for an untrusted file.
SHAPING = {"Cast", "Constant", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}

MEASURED_EXTENT = 32  # height and width in pixels, if the graph accepts any size

# Operators that change at most the order of a layer's values.
PASSING = {"Identity", "Reshape", "Squeeze", "Transpose"}

_Readers = dict[str, list[onnx.NodeProto]]  # of each tensor


def read_onnx(path: Path) -> tuple[list[Found], list[Found]]:
    """Find the layers in the file at `path`, as `find_layers` does.

    Raises
    ------
    WeightsError
        The file is not an ONNX model, or is a damaged model file of sparsefeat.
    """
    model, metadata = read_model(path)
    return find_layers(model, path, {} if metadata is None else metadata["crc32c"])


def find_layers(
    model: onnx.ModelProto, path: Path, digests: Mapping[str, str]
) -> tuple[list[Found], list[Found]]:
    """Find the convolutions and dense layers of a graph, in graph order.

    tf2onnx stores a bias as the third input of Conv or Gemm or in an Add after it, possibly folded
    or reshaped. It is recognised as a constant with one element for each output. tf2onnx leaves
    out a bias that is zero.

    Parameters
    ----------
    model
        A graph as `onnx.load(path, load_external_data=False)` returns it.
    path
        Path of the graph, to find its external data.
    digests
        Digests of external data by tensor name; tensors that are not in it are not checked.

    Returns
    -------
    convolutions, dense
        In graph order, kernels in Keras' axis order.

    Raises
    ------
    WeightsError
        A layer's weights are damaged; the message names its node.
    """
    constants = _Constants(model.graph, path, digests)
    readers: _Readers = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    convolutions, dense = [], []
    for node in model.graph.node:
        with _naming(node):
            if node.op_type == "Conv":
                convolutions.append(_convolution(node, constants, readers))
            elif node.op_type in ("MatMul", "Gemm") and node.input[1] in constants:
                dense.append(_dense(node, constants, readers))
    return convolutions, dense


def read_scaling(path: Path) -> Scaling | None:
    """Determine how the graph at `path` scales pixels.

    For a model file of sparsefeat the metadata says it. For other files, the operators between the
    input and the first convolution are run on random images.

    Returns
    -------
    Scaling or None
        None if there are no such operators.

    Raises
    ------
    WeightsError
        The operators do more than scale each channel by itself.
    """
    model, metadata = read_model(path)
    if metadata is not None:
        try:
            return from_json(metadata["preprocessing"]["scaling"])
        except (TypeError, LookupError) as exc:
            raise WeightsError(
                f"{path} has metadata that can't be read: {exc!r}; export it again"
            ) from exc
    first = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    if first is None:  # `match` reports it
        return None
    nodes: list[onnx.NodeProto] = []
    needed = {first.input[0]}
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.insert(0, node)
    if {node.op_type for node in nodes} <= {*SHAPING, *PASSING}:
        return None
    try:
        return _measured(model, path, nodes, needed, first.input[0])
    except Exception as exc:  # evaluating an untrusted file can raise anything
        raise WeightsError(
            f"{path.name}: the operators before its first convolution "
            f"({', '.join(node.op_type for node in nodes)}) are not a scaling of pixels "
            f"({first_line(exc)}): export the .keras file that it was made from"
        ) from exc


def _measured(
    model: onnx.ModelProto,
    path: Path,
    nodes: list[onnx.NodeProto],
    needed: set[str],
    output: str,
) -> Scaling:
    """Measure the scaling of the nodes before the first convolution, which reads (N, 3, H, W)."""
    from onnx.reference import ReferenceEvaluator

    constants = [
        onnx.numpy_helper.from_array(load_tensor(one, path, {}), one.name)
        for one in model.graph.initializer
        if one.name in needed
    ]
    given = needed - {one.name for one in constants}
    (images,) = (one for one in model.graph.input if one.name in given)
    _, *extents = (one.dim_value for one in images.type.tensor_type.shape.dim)
    channels_last = extents[-1] == 3
    height, width = extents[:2] if channels_last else extents[1:]
    value = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "front", [images], [value], constants)
    front = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=model.opset_import))

    def function(pixels: Array) -> Array:
        given = pixels if channels_last else pixels.transpose(0, 3, 1, 2)
        (scaled,) = front.run(None, {images.name: given})
        return np.asarray(scaled).transpose(0, 2, 3, 1)

    scaling = measure(function, height or MEASURED_EXTENT, width or MEASURED_EXTENT)
    if scaling is None:
        raise ValueError("they do more than multiply a channel by a factor and add an offset")
    return scaling


@contextmanager
def _naming(node: onnx.NodeProto) -> Iterator[None]:
    """Turn any exception about a layer's weights into a WeightsError that names the node."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as exc:  # decoding and folding an untrusted file can raise anything
        raise WeightsError(
            f"{node.op_type} {_layer_name(node)!r} has weights that cannot be read "
            f"({first_line(exc)}): the file is damaged"
        ) from exc


class _Constants:
    """The values of a graph that don't depend on its inputs, computed on demand."""

    def __init__(self, graph: onnx.GraphProto, path: Path, digests: Mapping[str, str]) -> None:
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._producers: dict[str, onnx.NodeProto] = {}
        self._path, self._digests = path, digests
        for node in graph.node:  # in topological order
            if node.op_type in SHAPING and all(name in self for name in node.input if name):
                self._producers.update(dict.fromkeys(node.output, node))

    def __contains__(self, name: str) -> bool:
        return name in self._initializers or name in self._producers

    def __getitem__(self, name: str) -> Array:
        if name in self._initializers:
            return load_tensor(self._initializers[name], self._path, self._digests)
        node = self._producers[name]
        outputs = evaluate(node, {one: self[one] for one in node.input if one})
        return outputs[list(node.output).index(name)]

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        return self[name].shape


def _convolution(node: onnx.NodeProto, constants: _Constants, readers: _Readers) -> Found:
    if node.input[1] not in constants:
        raise WeightsError(
            f"convolution {_layer_name(node)!r}: its kernel is not a constant of the graph"
        )
    out, channels_in, *extent = _shape(node, constants, n_axes=4)
    bias, activation = _after(node, out, constants, readers)

    def read() -> tuple[Array, Array]:
        with _naming(node):
            kernel = np.asarray(constants[node.input[1]], dtype=np.float32)
            transposed = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
            return transposed, _vector(bias, out, constants)

    return Found(
        name=_layer_name(node),
        kernel=(*extent, channels_in, out),
        bias=(out,),
        read=read,
        activation=activation,
    )


def _dense(node: onnx.NodeProto, constants: _Constants, readers: _Readers) -> Found:
    shape = _shape(node, constants, n_axes=2)
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    if transposed:
        shape = shape[::-1]
    out = shape[-1]
    bias, activation = _after(node, out, constants, readers)

    def read() -> tuple[Array, Array]:
        with _naming(node):
            kernel = np.asarray(constants[node.input[1]], dtype=np.float32)
            return kernel.T if transposed else kernel, _vector(bias, out, constants)

    return Found(
        name=_layer_name(node), kernel=shape, bias=(out,), read=read, activation=activation
    )


def _shape(node: onnx.NodeProto, constants: _Constants, *, n_axes: int) -> tuple[int, ...]:
    shape = constants.shape(node.input[1])
    if len(shape) != n_axes:
        raise WeightsError(
            f"{node.op_type} {_layer_name(node)!r} has a kernel of shape {shape}, expected "
            f"{n_axes} axes"
        )
    return shape


def _after(
    node: onnx.NodeProto, out: int, constants: _Constants, readers: _Readers
) -> tuple[str | None, str]:
    """Find the bias that is added to a product, and the operator after that.

    Branches that lead only to outputs of the graph are ignored. The operator is "" if there are no
    other branches.
    """
    given = node.input[2] if len(node.input) > 2 and node.input[2] else None
    if given is not None and given not in constants:
        raise WeightsError(
            f"{node.op_type} {_layer_name(node)!r} has a bias {given!r} that is not a constant of "
            "the graph"
        )
    biases, followers = {given}, set()
    ahead: list[tuple[str, str | None]] = [(node.output[0], given)]
    seen = set()
    while ahead:
        name, bias = ahead.pop()
        if name in seen:
            return None, "a cycle"
        seen.add(name)
        for reader in readers.get(name, []):
            if reader.op_type == "Add" and bias is None:
                added = [one for one in reader.input if one != name]
                if len(added) != 1 or not _is_bias(added[0], out, constants):
                    return None, "Add"
                biases.add(added[0])
                ahead.append((reader.output[0], added[0]))
            elif reader.op_type in PASSING:
                ahead.append((reader.output[0], bias))
            else:
                followers.add((bias, reader.op_type))
    if not followers:
        followers = {(bias, "") for bias in biases - {None}} or {(None, "")}
    if len(followers) > 1:
        return None, " and ".join(sorted(operator for _, operator in followers))
    return followers.pop()


def _is_bias(name: str, out: int, constants: _Constants) -> bool:
    return name in constants and int(np.prod(constants.shape(name))) == out


def _vector(bias: str | None, out: int, constants: _Constants) -> Array:
    if bias is None:
        return np.zeros(out, dtype=np.float32)
    return np.asarray(constants[bias], dtype=np.float32).reshape(-1)


def _layer_name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
