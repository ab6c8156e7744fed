"""The model file: its metadata, its layers, and cutting its graph."""

from sparsefeat.model.file import ModelFile
from sparsefeat.model.graph import POOLS, Cut, Pool, Size, check_size, cut, output_layer
from sparsefeat.model.layers import DENSE_OF_WALK, PRE, WALK, choose, layer_of
from sparsefeat.model.metadata import Metadata, ModelLayer, Probe

__all__ = [
    "DENSE_OF_WALK",
    "POOLS",
    "PRE",
    "WALK",
    "Cut",
    "Metadata",
    "ModelFile",
    "ModelLayer",
    "Pool",
    "Probe",
    "Size",
    "check_size",
    "choose",
    "cut",
    "layer_of",
    "output_layer",
]
