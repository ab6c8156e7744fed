"""What Keras makes of photographs and probes, written to disk for the other process."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsefeat_export.network import Network
from sparsefeat_export.plan import DEFAULT_SIZE
from sparsefeat_export.probe import probe_input


def write_photographs(network: Network, photographs: Sequence[str], folder: Path) -> None:
    """Run Keras on one photograph at a time and write every layer, for `read_layer`."""
    target = (network.height or DEFAULT_SIZE, network.width or DEFAULT_SIZE)
    for index, path in enumerate(photographs):
        _write(network, preprocess(path, target), photograph_folder(folder, index))


def write_probes(network: Network, sizes: Sequence[tuple[int, int]], folder: Path) -> None:
    """Run Keras on the probes of `sizes`, (height, width), and write every layer."""
    for height, width in sizes:
        _write(network, probe_input(height, width), probe_folder(folder, height, width))


def preprocess(path: str, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Prepare a photograph for VGG16 by Keras' own functions: float32 (1, H, W, 3)."""
    import keras

    picture = keras.utils.load_img(path, target_size=size)
    array = keras.utils.img_to_array(picture)[np.newaxis]
    prepared: npt.NDArray[np.float32] = keras.applications.vgg16.preprocess_input(array)
    return prepared


def photograph_folder(folder: Path, index: int) -> Path:
    """Where a photograph's activations are written."""
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


def _write(network: Network, images: npt.NDArray[np.float32], folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "images.npy", images)
    activations = network.model(images, training=False)
    for index, layer in enumerate(network.layers):
        np.save(folder / f"{index}.npy", np.asarray(activations[layer.name]))
