"""The model file: its metadata, its layers, and cutting its graph."""

from sparsefeat.model.file import ModelFile
from sparsefeat.model.graph import POOLS, Cut, Pool, Size, check_size, cut, output_layer
from sparsefeat.model.layer_names import GROUPS, PRE, layer_words
from sparsefeat.model.layers import behind_base, choose, layer_of
from sparsefeat.model.metadata import Metadata, ModelLayer, Probe
from sparsefeat.model.steps import channel_steps
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
    "behind_base",
    "channel_steps",
    "check_size",
    "choose",
    "cut",
    "layer_of",
    "layer_words",
    "output_layer",
    "verify_model",
]
