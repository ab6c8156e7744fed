"""The model file: reading its metadata, choosing layers, cutting its graph."""

from sparsefeat.model.file import ModelFile
from sparsefeat.model.graph import POOLS, Cut, Pool, Size, check_size, cut, output_layer
from sparsefeat.model.layer_names import GROUPS, PRE, parse_layer_names
from sparsefeat.model.layers import choose_layers, find_layer, layers_after_base
from sparsefeat.model.metadata import Metadata, ModelLayer, Probe
from sparsefeat.model.scales import read_channel_scales
from sparsefeat.model.verify import ModelReport, verify_model

__all__ = [
    "GROUPS",
    "POOLS",
    "PRE",
    "Cut",
    "Metadata",
    "ModelFile",
    "ModelLayer",
    "ModelReport",
    "Pool",
    "Probe",
    "Size",
    "check_size",
    "choose_layers",
    "cut",
    "find_layer",
    "layers_after_base",
    "output_layer",
    "parse_layer_names",
    "read_channel_scales",
    "verify_model",
]
