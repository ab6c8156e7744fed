"""Where weights come from: one module per kind of source."""

from sparsefeat_export.sources.h5_file import is_whole_model, read_h5
from sparsefeat_export.sources.onnx_file import read_onnx
from sparsefeat_export.sources.pretrained import read_pretrained
from sparsefeat_export.sources.seeded import read_random

__all__ = ["is_whole_model", "read_h5", "read_onnx", "read_pretrained", "read_random"]
