"""What Keras makes of photographs and probes, written to disk for the other process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat_export.network import Network
from sparsefeat_export.probe import probe_pixels


def write_photographs(network: Network, photographs: Sequence[str], folder: Path) -> None:
    """Run Keras on one photograph at a time and write every layer, for `read_layer`.

    From the file to the last layer as users do it: the picture by Keras' functions, then
    `Model.predict` of the model as it was built. The input that is written beside it is scaled as
    the metadata say, so that the comparison is one of scalings too.
    """
    for index, path in enumerate(photographs):
        pixels = read_pixels(path, network.size)
        images = network.scaling.apply(pixels)
        _write(network, images, network.predict(pixels), photograph_folder(folder, index))


def write_probes(network: Network, sizes: Sequence[tuple[int, int]], folder: Path) -> None:
    """Run Keras on the probes of `sizes`, (height, width), and write every layer."""
    for height, width in sizes:
        images = network.scaling.apply(probe_pixels(height, width))
        activations = network.model(images, training=False)
        _write(network, images, activations, probe_folder(folder, height, width))


def read_pixels(path: str, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Read a photograph by Keras' own functions: RGB in 0..255, float32 (1, H, W, 3)."""
    import keras

    picture = keras.utils.load_img(path, target_size=size)
    pixels: npt.NDArray[np.float32] = keras.utils.img_to_array(picture)[np.newaxis]
    return pixels


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


def _write(
    network: Network, images: npt.NDArray[np.float32], activations: dict[str, Any], folder: Path
) -> None:
    folder.mkdir()
    np.save(folder / "images.npy", images)
    for index, layer in enumerate(network.layers):
        np.save(folder / f"{index}.npy", np.asarray(activations[layer.name]))
