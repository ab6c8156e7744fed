"""Weights in ONNX files that tf2onnx made from a Keras VGG16."""

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from sparsefeat_export.errors import WeightsError
from sparsefeat_export.evaluation import evaluate
from sparsefeat_export.weights import Array, Found

# What tf2onnx leaves between a weight and its use. None makes more elements than it is given,
# so that computing them is safe whatever a file holds.
SHAPING = {"Cast", "Constant", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}

_Readers = dict[str, list[onnx.NodeProto]]  # of each tensor


def read_onnx(path: Path) -> tuple[list[Found], list[Found]]:
    """Find the layers in the file at `path`, as `find_layers` does.

    Raises
    ------
    WeightsError
        The file is no ONNX model.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as exc:
        raise WeightsError(f"{path} is not a readable ONNX file: {exc}") from exc
    return find_layers(model, path.parent)


def find_layers(model: onnx.ModelProto, folder: Path) -> tuple[list[Found], list[Found]]:
    """Find the convolutions and dense layers of a graph, in graph order.

    Wherever tf2onnx has put a bias (third input of Conv or Gemm, an Add behind it, folded or
    reshaped on the way), it is the constant of as many elements as there are outputs. One that
    is zero it leaves out.

    Parameters
    ----------
    model
        A graph as `onnx.load(path, load_external_data=False)` gives it.
    folder
        Where its external data lies.

    Returns
    -------
    convolutions, dense
        In graph order, kernels in Keras' axis order.
    """
    constants = _Constants(model.graph, folder)
    readers: _Readers = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    convolutions, dense = [], []
    for node in model.graph.node:
        if node.op_type == "Conv":
            convolutions.append(_convolution(node, constants, readers))
        elif node.op_type in ("MatMul", "Gemm") and node.input[1] in constants:
            dense.append(_dense(node, constants, readers))
    return convolutions, dense


class _Constants:
    """The values in a graph that don't depend on its inputs, computed when asked for."""

    def __init__(self, graph: onnx.GraphProto, folder: Path) -> None:
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._producers: dict[str, onnx.NodeProto] = {}
        self._folder = folder
        for node in graph.node:  # sorted: what a node reads comes before it
            if node.op_type in SHAPING and all(name in self for name in node.input if name):
                self._producers.update(dict.fromkeys(node.output, node))

    def __contains__(self, name: str) -> bool:
        return name in self._initializers or name in self._producers

    def __getitem__(self, name: str) -> Array:
        if name in self._initializers:
            return self._load(self._initializers[name])
        node = self._producers[name]
        outputs = evaluate(node, {one: self[one] for one in node.input if one})
        return outputs[list(node.output).index(name)]

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        return self[name].shape

    def _load(self, tensor: onnx.TensorProto) -> Array:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            # Into a copy, so that one layer's values are in memory and not all of them.
            loaded = onnx.TensorProto()
            loaded.CopyFrom(tensor)
            try:
                load_external_data_for_tensor(loaded, str(self._folder))
            except (OSError, ValueError, onnx.checker.ValidationError) as exc:
                raise WeightsError(
                    f"{tensor.name}: its external data cannot be read from {self._folder}: {exc}"
                ) from exc
            tensor = loaded
        return numpy_helper.to_array(tensor)


def _convolution(node: onnx.NodeProto, constants: _Constants, readers: _Readers) -> Found:
    if node.input[1] not in constants:
        raise WeightsError(
            f"convolution {_layer_name(node)!r}: its kernel is not a constant of the graph"
        )
    out, channels_in, *extent = constants.shape(node.input[1])
    bias, activation = _behind(node, out, constants, readers)

    def read() -> tuple[Array, Array]:
        kernel = np.asarray(constants[node.input[1]], dtype=np.float32)
        return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)), _vector(bias, out, constants)

    return Found(
        name=_layer_name(node),
        kernel=(*extent, channels_in, out),
        bias=(out,),
        read=read,
        activation=activation,
    )


def _dense(node: onnx.NodeProto, constants: _Constants, readers: _Readers) -> Found:
    shape = constants.shape(node.input[1])
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    if transposed:
        shape = shape[::-1]
    out = shape[-1]
    bias, activation = _behind(node, out, constants, readers)

    def read() -> tuple[Array, Array]:
        kernel = np.asarray(constants[node.input[1]], dtype=np.float32)
        return kernel.T if transposed else kernel, _vector(bias, out, constants)

    return Found(
        name=_layer_name(node), kernel=shape, bias=(out,), read=read, activation=activation
    )


def _behind(
    node: onnx.NodeProto, out: int, constants: _Constants, readers: _Readers
) -> tuple[str | None, str]:
    """Find the constant that is added to a product, and the operator that follows.

    tf2onnx drops a bias that is zero. The operator is "" where the graph ends.
    """
    bias: str | None = node.input[2] if len(node.input) > 2 else None
    name: str = node.output[0]
    while len(readers.get(name, [])) == 1:
        (reader,) = readers[name]
        if reader.op_type == "Add" and bias is None:
            (bias,) = (one for one in reader.input if one != name)
            if bias not in constants or int(np.prod(constants.shape(bias))) != out:
                return None, "Add"
        elif reader.op_type not in ("Transpose", "Reshape", "Squeeze", "Identity"):
            return bias, reader.op_type
        name = reader.output[0]
    return bias, "" if name not in readers else readers[name][0].op_type


def _vector(bias: str | None, out: int, constants: _Constants) -> Array:
    if bias is None:
        return np.zeros(out, dtype=np.float32)
    return np.asarray(constants[bias], dtype=np.float32).reshape(-1)


def _layer_name(node: onnx.NodeProto) -> str:
    return node.name or node.output[0]
