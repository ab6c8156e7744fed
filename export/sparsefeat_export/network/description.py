"""Describe a network's layers for the model file's metadata."""

import hashlib
import re
from typing import Any

import numpy as np

from sparsefeat_export.errors import WeightsError
from sparsefeat_export.network.loading import Network

KINDS = {"Conv2D": "conv", "MaxPooling2D": "pool"}


def describe(network: Network) -> list[dict[str, Any]]:
    """Return name, kind, shape, stride and rectification of every layer, in network order.

    For a network of any input size, the height and width of a layer are None: they are those of
    the input divided by the stride, rounded down.

    Raises
    ------
    WeightsError
        The height or width of a layer depends on the input's in another way.
    """
    symbolic = network.height is None or network.width is None
    # Two sizes to compare; not needed if the size is fixed.
    sizes = (512, 544) if symbolic else ()
    shapes = {
        size: network.model.compute_output_shape(
            (1, network.height or size, network.width or size, 3)
        )
        for size in sizes
    }
    layers = []
    stride = 1
    for layer in network.layers:
        _, *shape = network.model.output[layer.name].shape
        stride = _stride_after(layer, stride)
        described = {
            "name": layer.name,
            "kind": KINDS.get(type(layer).__name__, _snake(type(layer).__name__)),
            "shape": shape,
            "stride": None,
            "rectified": is_rectified(layer),
        }
        if len(shape) == 3:
            heights = {size: shapes[size][layer.name][1] for size in sizes}
            if any(size // stride != height for size, height in heights.items()):
                raise WeightsError(
                    f"layer {layer.name!r} has heights {tuple(heights.values())} for inputs of "
                    f"{sizes} pixels, expected the input's height divided by a stride: save the "
                    "model with a fixed input size"
                )
            described["stride"] = stride
        layers.append(described)
    return layers


def _stride_after(layer: Any, stride: int) -> int:
    """Compute the stride of a layer's output in pixels from that of its input."""
    import keras

    if isinstance(layer, keras.layers.UpSampling2D):
        return max(1, stride // int(layer.size[0]))
    strides = getattr(layer, "strides", 1)
    along_height = int(strides if isinstance(strides, int) else strides[0])
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return max(1, stride // along_height)
    return stride * along_height


def is_rectified(layer: Any) -> bool:
    """Return whether the layer's output is that of a plain ReLU."""
    import keras

    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu


def digest(network: Network) -> str:
    """Compute the SHA-256 of all weights' little-endian float32 bytes, in network order."""
    sha256 = hashlib.sha256()
    for layer in network.layers:
        for variable in layer.weights:
            sha256.update(np.ascontiguousarray(np.asarray(variable), dtype="<f4").data)
    return sha256.hexdigest()


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
