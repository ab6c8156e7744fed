"""From a Keras network to the finished graph and its data file."""

from pathlib import Path
from typing import Any

import onnx

from sparsefeat_export import folding, graph
from sparsefeat_export.convert import convert
from sparsefeat_export.external import write_external
from sparsefeat_export.network import Network
from sparsefeat_export.shapes import declare_shapes


def build(network: Network, layers: list[dict[str, Any]], data: Path) -> onnx.ModelProto:
    """Convert `network`, write its weights to `data`, and give the graph that reads them.

    `layers` is what `description.describe` says of the network.
    """
    traced = convert(network)
    model = traced.graph
    folded = folding.fold(model.graph, list(traced.variables))
    graph.transpose_single_positions(model.graph, layers)
    graph.rewire_round_trips(model.graph)
    graph.explicit_padding(model.graph)
    graph.static_flatten(model.graph, layers)
    arrays = folding.bind(folded, traced.variables)
    model.graph.initializer.extend(write_external(data, arrays, location=data.name))
    graph.settle_copies(model.graph)
    graph.name_tensors(model.graph, layers)
    return declare_shapes(model, layers, network.height, network.width)
