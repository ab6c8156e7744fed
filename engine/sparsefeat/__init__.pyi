from .conversion import Conversion, convert
from .errors import (
    BenchmarkError,
    DependencyError,
    InputError,
    LayerError,
    MissingDependencyError,
    ModelCorruptError,
    ModelError,
    ModelNotFoundError,
    PrecisionError,
    ProviderError,
    SourceError,
    SparsefeatError,
    StoreChangedError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreMemoryError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreWriteError,
)
from .extraction import extract_to_store
from .extractor import Extractor
from .maps import FeatureMaps
from .model import ModelReport, verify_model
from .pictures import PRESETS, Preset, QuirkWarning, list_pictures
from .pictures.preprocess import normalize
from .progress import Progress
from .providers import CudaOptions, Precision
from .records import Batch, Layer, ReadFailure, Reject, RejectWarning, Row
from .report import Report, build_report, write_report
from .sparsity import ScalingWarning, Sparsity, analyse, check_scaling
from .store import Compaction, Merge, Store, compact, info, merge, open, verify

__all__ = [
    "PRESETS",
    "Batch",
    "BenchmarkError",
    "Compaction",
    "Conversion",
    "CudaOptions",
    "DependencyError",
    "Extractor",
    "FeatureMaps",
    "InputError",
    "Layer",
    "LayerError",
    "Merge",
    "MissingDependencyError",
    "ModelCorruptError",
    "ModelError",
    "ModelNotFoundError",
    "ModelReport",
    "Precision",
    "PrecisionError",
    "Preset",
    "Progress",
    "ProviderError",
    "QuirkWarning",
    "ReadFailure",
    "Reject",
    "RejectWarning",
    "Report",
    "Row",
    "ScalingWarning",
    "SourceError",
    "SparsefeatError",
    "Sparsity",
    "Store",
    "StoreChangedError",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "StoreMemoryError",
    "StoreMismatchError",
    "StoreNotFoundError",
    "StoreWriteError",
    "analyse",
    "build_report",
    "check_scaling",
    "compact",
    "convert",
    "extract_to_store",
    "info",
    "list_pictures",
    "merge",
    "normalize",
    "open",
    "verify",
    "verify_model",
    "write_report",
]
