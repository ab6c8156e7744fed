"""What ONNX Runtime makes of the same inputs, at the level that production uses."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sparsefeat_export.certificate import Errors
from sparsefeat_export.dependencies import load
from sparsefeat_export.probe import summarise
from sparsefeat_export.reference import photograph_folder, probe_folder, read_images, read_layer


def compare_photographs(
    graph: Path, folder: Path, layers: Sequence[str], n_photographs: int
) -> dict[str, Errors]:
    """Errors of every layer over photographs that `reference.write_photographs` has written."""
    session = open_session(onnx.load(graph, load_external_data=False), graph.parent)
    errors = {layer: Errors() for layer in layers}
    for index in range(n_photographs):
        written = photograph_folder(folder, index)
        activations = session.run(list(layers), {"images": read_images(written)})
        for position, (layer, activation) in enumerate(zip(layers, activations, strict=True)):
            errors[layer].add(read_layer(written, position), activation)
    return errors


def expected_probe(
    graph: Path, folder: Path, layers: Sequence[str], rectified: Sequence[str], size: Sequence[int]
) -> dict[str, Any]:
    """One probe of the metadata: layers by Keras, pre-activations by ONNX Runtime.

    Keras has no name for a pre-activation; the graph's is trusted because the rectified
    layers that follow from it have been certified.
    """
    height, width = size
    written = probe_folder(folder, height, width)
    model = onnx.load(graph, load_external_data=False)
    names = [f"{layer}/pre" for layer in rectified]
    inferred = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(inferred[name] for name in names)
    session = open_session(model, graph.parent)
    expected = {
        layer: summarise(read_layer(written, position)[0]) for position, layer in enumerate(layers)
    }
    activations = session.run(names, {"images": read_images(written)})
    for name, activation in zip(names, activations, strict=True):
        expected[name] = summarise(_channels_last(activation)[0])
    return {"height": height, "width": width, "expected": expected}


def open_session(model: onnx.ModelProto, folder: Path) -> Any:
    """Open a session on the processor, fully optimised, with weights from `folder`."""
    onnxruntime = load("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Left alone, it takes the host's processors, not the ones this process may use.
    if hasattr(os, "sched_getaffinity"):
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _channels_last(activation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return activation.transpose(0, 2, 3, 1) if activation.ndim == 4 else activation
