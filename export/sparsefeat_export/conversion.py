"""Convert a Keras network to an ONNX graph and a data file of weights.

tf2onnx keeps several copies of every constant, which for the full VGG16 needs more memory than
most machines have. The network is therefore converted with its weights as inputs, of which
tf2onnx sees only the shapes, and the arrays are bound to the finished graph afterwards. Tensors
that depend only on weights are then computed once, at export.
"""

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from sparsefeat_export.graph import (
    declare_shapes,
    drop_unread,
    evaluate,
    explicit_padding,
    keep,
    name_tensors,
    rename_inputs,
    rewire_round_trips,
    settle_copies,
    static_flatten,
    transpose_single_positions,
)
from sparsefeat_export.model_file import write_external
from sparsefeat_export.network import Network

OPSET = 18  # the newest that tf2onnx writes

Array = npt.NDArray[Any]


def build(network: Network, layers: list[dict[str, Any]], data: Path) -> onnx.ModelProto:
    """Convert `network`, write its weights to `data`, and return the graph that reads them.

    `layers` is the result of `describe` for the network.
    """
    model, variables = convert(network)
    folded = fold(model.graph, list(variables))
    transpose_single_positions(model.graph, layers)
    rewire_round_trips(model.graph)
    explicit_padding(model.graph)
    static_flatten(model.graph, layers)
    arrays = bind(folded, variables)
    model.graph.initializer.extend(write_external(data, arrays, location=data.name))
    settle_copies(model.graph)
    name_tensors(model.graph, layers)
    return declare_shapes(model, layers, network.height, network.width)


def convert(network: Network) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Convert `network` to a graph whose outputs have the layers' names, in network order.

    Its weights are inputs named ``<layer>/<weight>``; the variables for them are returned by name.
    """
    import tensorflow as tf
    import tf2onnx

    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in network.layers
        for variable in layer.weights
    }
    model = network.model
    # Not every variable is a weight: a dropout layer's random state keeps its value.
    states = {id(one): one.numpy() for one in model.variables if one.dtype != "float32"}

    def run(images: Any, *weights: Any) -> Any:
        bound = {id(one): value for one, value in zip(variables.values(), weights, strict=True)}
        outputs, _ = model.stateless_call(
            [(states | bound)[id(one)] for one in model.trainable_variables],
            [(states | bound)[id(one)] for one in model.non_trainable_variables],
            images,
            training=False,
        )
        return outputs

    signature = [tf.TensorSpec((None, network.height, network.width, 3), tf.float32, "images")]
    signature += [
        tf.TensorSpec(variable.shape, tf.float32, f"weight_{index}")
        for index, variable in enumerate(variables.values())
    ]
    function = tf.function(run, input_signature=signature, autograph=False)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    names = {f"weight_{index}": name for index, name in enumerate(variables)}
    for node in graph.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    for value in graph.graph.input:
        value.name = names.get(value.name, value.name)
    outputs = {output.name: output for output in graph.graph.output}
    ordered = [outputs[layer.name] for layer in network.layers]
    del graph.graph.output[:]
    graph.graph.output.extend(ordered)
    return graph, variables


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A tensor that is computed from weights alone, with the nodes that compute it, in order."""

    name: str  # in the finished graph
    tensor: str  # in the traced graph
    weights: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array] = field(repr=False)

    def compute(self, weights: dict[str, Array]) -> Array:
        """Compute the tensor from the weights, given by name."""
        values = self.constants | weights
        for node in self.nodes:
            outputs = evaluate(node, {name: values[name] for name in node.input if name})
            values.update(zip(node.output, outputs, strict=True))
        return values[self.tensor]


def fold(graph: onnx.GraphProto, weights: list[str]) -> list[Folded]:
    """Remove every node from `graph` that depends only on weights.

    A tensor that is computed from one weight gets that weight's name: ``<layer>/kernel`` is the
    kernel in the axis order of ONNX. The caller must bind the returned tensors as initializers.

    Returns
    -------
    list of Folded
        The tensors to bind, in the order of `weights`.
    """
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    sources: dict[str, set[str]] = {name: {name} for name in weights}
    sources.update({name: set() for name in constants})
    recipes: dict[str, list[onnx.NodeProto]] = {name: [] for name in sources}
    remaining = []
    for node in graph.node:
        if not node.input or any(name not in sources for name in node.input if name):
            remaining.append(node)
            continue
        inputs = [name for name in node.input if name]
        recipe = [one for name in inputs for one in recipes[name]] + [node]
        for output in node.output:
            sources[output] = set().union(*(sources[name] for name in inputs))
            recipes[output] = list({id(one): one for one in recipe}.values())
    read = dict.fromkeys(name for node in remaining for name in node.input if sources.get(name))
    folded = []
    renamed: dict[str, str] = {}
    for tensor in sorted(read, key=lambda name: min(map(weights.index, sources[name]))):
        renamed[tensor] = _name(sorted(sources[tensor], key=weights.index), set(renamed.values()))
        folded.append(
            Folded(
                name=renamed[tensor],
                tensor=tensor,
                weights=tuple(sorted(sources[tensor])),
                nodes=tuple(copy.deepcopy(recipes[tensor])),
                constants=constants,
            )
        )
    keep(graph, remaining)
    rename_inputs(graph, renamed)
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    drop_unread(graph)
    return folded


def bind(folded: list[Folded], variables: dict[str, Any]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield (name, value) of each folded tensor."""
    for one in folded:
        values = {name: np.asarray(variables[name]) for name in one.weights}
        yield one.name, one.compute(values)


def _name(sources: list[str], taken: set[str]) -> str:
    base = sources[0] if len(sources) == 1 else f"{sources[0].rpartition('/')[0]}/folded"
    names = itertools.chain([base], (f"{base}_{count}" for count in itertools.count(2)))
    return next(name for name in names if name not in taken)
