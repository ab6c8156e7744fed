from .file import ModelFile
from .graph import POOLS, Cut, Pool, Size, check_size, cut, output_layer
from .layer_names import GROUPS, PRE, layer_words
from .layers import behind_base, choose, layer_of
from .metadata import Metadata, ModelLayer, Probe
from .steps import channel_steps
from .verify import ModelReport, verify_model

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
