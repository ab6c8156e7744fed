"""A network's layers in words, for the model file's metadata."""

import hashlib
import re
from typing import Any

import numpy as np

from sparsefeat_export.errors import WeightsError
from sparsefeat_export.network.loading import Network

KINDS = {"Conv2D": "conv", "MaxPooling2D": "pool"}


def describe(network: Network) -> list[dict[str, Any]]:
    """Name, kind, shape, stride and rectification of every layer, in network order.

    Extents are None where they follow from the input's, divided by the stride and rounded down.

    Raises
    ------
    WeightsError
        A layer's extents follow from the input's in another way.
    """
    symbolic = network.height is None or network.width is None
    # With a fixed size there is nothing to follow from another.
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
        stride = _stride_behind(layer, stride)
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
                    f"layer {layer.name!r}: its height for inputs of {sizes} pixels is "
                    f"{tuple(heights.values())}, which is no division by a stride: save the model "
                    "with a fixed input size"
                )
            described["stride"] = stride
        layers.append(described)
    return layers


def _stride_behind(layer: Any, stride: int) -> int:
    """Pixels between neighbours of a layer's output, from those of its input."""
    import keras

    if isinstance(layer, keras.layers.UpSampling2D):
        return max(1, stride // int(layer.size[0]))
    strides = getattr(layer, "strides", 1)
    along_height = int(strides if isinstance(strides, int) else strides[0])
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return max(1, stride // along_height)
    return stride * along_height


def is_rectified(layer: Any) -> bool:
    """Whether a plain ReLU makes the layer's output."""
    import keras

    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu


def digest(network: Network) -> str:
    """SHA-256 over every weight's float32 little-endian bytes, in network order."""
    sha256 = hashlib.sha256()
    for layer in network.layers:
        for variable in layer.weights:
            sha256.update(np.ascontiguousarray(np.asarray(variable), dtype="<f4").data)
    return sha256.hexdigest()


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
