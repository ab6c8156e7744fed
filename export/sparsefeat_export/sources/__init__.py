"""Where weights come from: one module per kind of source."""

from sparsefeat_export.sources.h5_file import is_whole_model
from sparsefeat_export.sources.reading import read_weights

__all__ = ["is_whole_model", "read_weights"]
