"""Where weights come from: what a user may call them, and what is read from there.

============  ===========================================================
`reading`     from a name to weights that are matched to VGG16's layers
`weights`     VGG16's layers, and weights that are matched to them
`fetching`    ImageNet's weights from Keras' host or a package index
`h5_file`     files of Keras 2 and 3
`onnx_file`   graphs that tf2onnx made
============  ===========================================================
"""

from sparsefeat_export.sources.h5_file import is_whole_model
from sparsefeat_export.sources.reading import read_weights, resolve
from sparsefeat_export.sources.weights import (
    BLOCKS,
    DEFAULT_SIZE,
    Request,
    Weights,
    check_finite,
    planned_convolutions,
)

__all__ = [
    "BLOCKS",
    "DEFAULT_SIZE",
    "Request",
    "Weights",
    "check_finite",
    "is_whole_model",
    "planned_convolutions",
    "read_weights",
    "resolve",
]
