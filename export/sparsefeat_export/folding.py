"""What depends on weights alone, computed once and not at every run."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from sparsefeat_export import graph as graphs
from sparsefeat_export.evaluation import evaluate

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A tensor computed from weights: which ones, and by which nodes, in order."""

    name: str  # in the finished graph
    tensor: str  # in the traced graph
    weights: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    constants: dict[str, Array] = field(repr=False)

    def compute(self, weights: dict[str, Array]) -> Array:
        """Compute the tensor from the weights' values, by name."""
        values = self.constants | weights
        for node in self.nodes:
            outputs = evaluate(node, {name: values[name] for name in node.input if name})
            values.update(zip(node.output, outputs, strict=True))
        return values[self.tensor]


def fold(graph: onnx.GraphProto, weights: list[str]) -> list[Folded]:
    """Take every node that depends on weights alone out of `graph`.

    A tensor made from one weight keeps that weight's name: a convolution's kernel is
    ``<layer>/kernel`` in ONNX' axis order as it was in Keras'. The graph reads the finished
    tensors by those names, which its caller binds.

    Returns
    -------
    list of Folded
        What to bind, in the order of `weights`.
    """
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    sources: dict[str, set[str]] = {name: {name} for name in weights}
    sources.update({name: set() for name in constants})
    recipes: dict[str, list[onnx.NodeProto]] = {name: [] for name in sources}
    kept = []
    for node in graph.node:
        if not node.input or any(name not in sources for name in node.input if name):
            kept.append(node)
            continue
        inputs = [name for name in node.input if name]
        recipe = [one for name in inputs for one in recipes[name]] + [node]
        for output in node.output:
            sources[output] = set().union(*(sources[name] for name in inputs))
            recipes[output] = list({id(one): one for one in recipe}.values())
    read = dict.fromkeys(name for node in kept for name in node.input if sources.get(name))
    folded = []
    renamed: dict[str, str] = {}
    for tensor in sorted(read, key=lambda name: min(map(weights.index, sources[name]))):
        renamed[tensor] = _name(sorted(sources[tensor], key=weights.index), set(renamed.values()))
        folded.append(
            Folded(
                name=renamed[tensor],
                tensor=tensor,
                weights=tuple(sorted(sources[tensor])),
                nodes=tuple(_copy(node) for node in recipes[tensor]),
                constants=constants,
            )
        )
    graphs.keep(graph, kept)
    graphs.rename_inputs(graph, renamed)
    _keep_inputs(graph, without=set(weights))
    graphs.drop_unread(graph)
    return folded


def bind(folded: list[Folded], variables: dict[str, Any]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield (name, value) of one folded tensor after the other."""
    for one in folded:
        values = {name: np.asarray(variables[name]) for name in one.weights}
        yield one.name, one.compute(values)


def _name(sources: list[str], taken: set[str]) -> str:
    layer = sources[0].rpartition("/")[0]
    name = sources[0] if len(sources) == 1 else f"{layer}/folded"
    count = 1
    while name in taken:
        count += 1
        name = f"{sources[0] if len(sources) == 1 else f'{layer}/folded'}_{count}"
    return name


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _keep_inputs(graph: onnx.GraphProto, *, without: set[str]) -> None:
    inputs = [value for value in graph.input if value.name not in without]
    del graph.input[:]
    graph.input.extend(inputs)
