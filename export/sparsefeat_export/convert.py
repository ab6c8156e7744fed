"""Keras to ONNX by tf2onnx, with the weights as inputs of the traced function.

tf2onnx keeps several copies of every constant while it works, which for the whole VGG16 is more
memory than most machines have. Weights that are inputs are never constants: only their shapes
take part, and the arrays are bound to the finished graph afterwards.
"""

from dataclasses import dataclass
from typing import Any

import onnx

from sparsefeat_export.network import Network

OPSET = 18  # the newest that tf2onnx writes


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A graph whose weights are inputs named ``<layer>/<weight>``, and the variables they are."""

    graph: onnx.ModelProto
    variables: dict[str, Any]  # in network order


def convert(network: Network) -> Traced:
    """Convert `network`; the graph's outputs carry the layers' names, in network order."""
    import tensorflow as tf
    import tf2onnx

    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in network.layers
        for variable in layer.weights
    }
    model = network.model
    # Not all are weights: a dropout's random state stays what it is.
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
    return Traced(graph=graph, variables=variables)
