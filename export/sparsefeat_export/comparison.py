"""Run Keras and ONNX Runtime on the same images and probes, and compare the activations.

Keras writes its activations to disk, because ONNX Runtime runs in another process. ONNX Runtime
uses the same optimization level as in production.

A probe is an input computed from a formula. The model file stores a few expected values of each
tensor for it, so that a session can check at its start which precision it really computes in,
without needing an image.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from sparsefeat_export.certificate import Errors
from sparsefeat_export.dependencies import load
from sparsefeat_export.network import Network

N_CHANNELS = 8


def probe_pixels(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Make the probe's image, uint8 (1, height, width, 3), which is then scaled like any image.

    Its values depend only on their position, so a small probe is a corner of a larger one.

    Examples
    --------
    >>> probe_pixels(32, 32)[0, 1, :3, 0]
    array([ 44, 108, 172], dtype=uint8)
    """
    y, x, c = np.ogrid[:height, :width, :3]
    values = (37 * y + 61 * x + 89 * c + 3 * y * x + 7 * y * y) % 256
    pixels: npt.NDArray[np.uint8] = values[np.newaxis].astype(np.uint8)
    return pixels


def summarise(activation: npt.NDArray[np.float32]) -> dict[str, list[int] | list[float]]:
    """Summarise one image's activation, (H, W, C) or (F,), by a few values.

    Returns
    -------
    dict
        ``channels``: the eight channels with the largest magnitudes at position (0, 0), ascending;
        ``corner``: their values there; for (H, W, C) also ``avg`` and ``max``: their mean and
        maximum over height and width.
    """
    spatial = activation.ndim == 3
    corner = activation[0, 0] if spatial else activation
    largest = np.argsort(-np.abs(corner), kind="stable")[:N_CHANNELS]
    channels = np.sort(largest)
    summary: dict[str, Any] = {"channels": channels.tolist(), "corner": _digits(corner[channels])}
    if spatial:
        chosen = activation[..., channels].astype(np.float64)
        summary["avg"] = _digits(chosen.mean(axis=(0, 1)))
        summary["max"] = _digits(chosen.max(axis=(0, 1)))
    return summary


def _digits(values: npt.NDArray[Any]) -> list[float]:
    """Round to nine significant digits, which identify a float32 exactly."""
    return [float(f"{value:.9g}") for value in values.tolist()]


def write_images(network: Network, paths: Sequence[str], folder: Path) -> None:
    """Run Keras on one image at a time and write the activations of every layer.

    Everything is done as Keras' users do it: `load_img` and `img_to_array`, then `Model.predict` of
    the original model. The network input is written too, scaled as the metadata says, so that the
    comparison also verifies the scaling.
    """
    import keras

    for index, path in enumerate(paths):
        image = keras.utils.load_img(path, target_size=network.size)
        pixels = keras.utils.img_to_array(image)[np.newaxis]  # float32 (1, H, W, 3), RGB, 0 to 255
        images = network.scaling.apply(pixels)
        _write(network, images, network.predict(pixels), folder / f"image-{index}")


def write_probes(network: Network, sizes: Sequence[tuple[int, int]], folder: Path) -> None:
    """Run Keras on a probe of each size, (height, width), and write every layer."""
    for height, width in sizes:
        images = network.scaling.apply(probe_pixels(height, width))
        activations = network.model(images, training=False)
        _write(network, images, activations, folder / f"probe-{height}x{width}")


def _write(
    network: Network, images: npt.NDArray[np.float32], activations: dict[str, Any], folder: Path
) -> None:
    folder.mkdir()
    np.save(folder / "images.npy", images)
    for index, layer in enumerate(network.layers):
        np.save(folder / f"{index}.npy", np.asarray(activations[layer.name]))


def _read_layer(folder: Path, index: int) -> npt.NDArray[np.float32]:
    """Map the activations of layer `index` (in network order): float32 (1, H, W, C) or (1, F)."""
    mapped: npt.NDArray[np.float32] = np.load(folder / f"{index}.npy", mmap_mode="r")
    return mapped


def compare_images(
    graph: Path, folder: Path, layers: Sequence[str], n_images: int
) -> dict[str, Errors]:
    """Run the graph on images that `write_images` wrote, and sum up every layer's errors."""
    session = open_session(onnx.load(graph, load_external_data=False), graph.parent)
    errors = {layer: Errors() for layer in layers}
    for index in range(n_images):
        written = folder / f"image-{index}"
        images = np.load(written / "images.npy")
        activations = session.run(list(layers), {"images": images})
        for position, (layer, activation) in enumerate(zip(layers, activations, strict=True)):
            errors[layer].add(_read_layer(written, position), activation)
    return errors


def expected_probe(
    graph: Path, folder: Path, layers: Sequence[str], rectified: Sequence[str], size: Sequence[int]
) -> dict[str, Any]:
    """Compute the expected values of a probe: layers by Keras, pre-activations by ONNX Runtime.

    Keras does not expose pre-activations. Those of the graph are trusted because the rectified
    layers computed from them have been certified.
    """
    height, width = size
    written = folder / f"probe-{height}x{width}"
    model = onnx.load(graph, load_external_data=False)
    names = [f"{layer}/pre" for layer in rectified]
    inferred = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(inferred[name] for name in names)
    session = open_session(model, graph.parent)
    expected = {
        layer: summarise(_read_layer(written, position)[0]) for position, layer in enumerate(layers)
    }
    activations = session.run(names, {"images": np.load(written / "images.npy")})
    for name, activation in zip(names, activations, strict=True):
        expected[name] = summarise(_channels_last(activation)[0])
    return {"height": height, "width": width, "expected": expected}


def open_session(model: onnx.ModelProto, folder: Path) -> Any:
    """Open a fully optimised CPU session, with weights from `folder`."""
    onnxruntime = load("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # By default ONNX Runtime counts the host's processors, not those that this process may use.
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
