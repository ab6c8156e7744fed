"""What Keras makes of images and probes, and what ONNX Runtime makes of the same.

Keras' activations are written to disk for the other process; ONNX Runtime's are computed at the
level that production uses. A probe is an input that anyone can compute: a model file carries a few
numbers of what each tensor makes of it, so that a session can prove at its start which precision
it really computes in, without an image at hand.
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
    """Make the probe's image: uint8 (1, height, width, 3). It is scaled as the model's are.

    Its values depend on their position alone, so a larger one continues a smaller.

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
    """Take a few numbers of one image's activation, (H, W, C) or (F,).

    Returns
    -------
    dict
        ``channels``, the eight that are largest in the corner, ascending; their values there,
        and for spatial activations their ``avg`` and ``max`` over height and width.
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
    """Nine significant digits, which tell any two float32 apart."""
    return [float(f"{value:.9g}") for value in values.tolist()]


def write_images(network: Network, paths: Sequence[str], folder: Path) -> None:
    """Run Keras on one image at a time and write every layer, for `read_layer`.

    From the file to the last layer as users do it: the image by Keras' functions, then
    `Model.predict` of the model as it was built. The input that is written beside it is scaled as
    the metadata say, so that the comparison is one of scalings too.
    """
    for index, path in enumerate(paths):
        pixels = read_pixels(path, network.size)
        images = network.scaling.apply(pixels)
        _write(network, images, network.predict(pixels), image_folder(folder, index))


def write_probes(network: Network, sizes: Sequence[tuple[int, int]], folder: Path) -> None:
    """Run Keras on the probes of `sizes`, (height, width), and write every layer."""
    for height, width in sizes:
        images = network.scaling.apply(probe_pixels(height, width))
        activations = network.model(images, training=False)
        _write(network, images, activations, probe_folder(folder, height, width))


def read_pixels(path: str, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Read an image by Keras' own functions: RGB in 0..255, float32 (1, H, W, 3)."""
    import keras

    image = keras.utils.load_img(path, target_size=size)
    pixels: npt.NDArray[np.float32] = keras.utils.img_to_array(image)[np.newaxis]
    return pixels


def image_folder(folder: Path, index: int) -> Path:
    """Where an image's activations are written."""
    return folder / f"photograph-{index}"


def probe_folder(folder: Path, height: int, width: int) -> Path:
    """Where a probe's activations are written."""
    return folder / f"probe-{height}x{width}"


def read_layer(folder: Path, index: int) -> npt.NDArray[np.float32]:
    """Activations of the layer at `index` in network order, mapped: (1, H, W, C) or (1, F)."""
    mapped: npt.NDArray[np.float32] = np.load(folder / f"{index}.npy", mmap_mode="r")
    return mapped


def read_images(folder: Path) -> npt.NDArray[np.float32]:
    """Read the input, float32 (1, H, W, 3)."""
    images: npt.NDArray[np.float32] = np.load(folder / "images.npy")
    return images


def _write(
    network: Network, images: npt.NDArray[np.float32], activations: dict[str, Any], folder: Path
) -> None:
    folder.mkdir()
    np.save(folder / "images.npy", images)
    for index, layer in enumerate(network.layers):
        np.save(folder / f"{index}.npy", np.asarray(activations[layer.name]))


def compare_images(
    graph: Path, folder: Path, layers: Sequence[str], n_images: int
) -> dict[str, Errors]:
    """Errors of every layer over images that `write_images` has written."""
    session = open_session(onnx.load(graph, load_external_data=False), graph.parent)
    errors = {layer: Errors() for layer in layers}
    for index in range(n_images):
        written = image_folder(folder, index)
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
