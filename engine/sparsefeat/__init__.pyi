from .analysis import Sparsity, analyse
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
    StoreMemoryError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreReadError,
    StoreWriteError,
)
from .images import PRESETS, Preset, QuirkWarning, list_pictures
from .images.preprocess import normalize
from .interop.conversion import Conversion, convert
from .model import ModelReport, verify_model
from .pipeline.extraction import extract_to_store
from .pipeline.extractor import Extractor
from .pipeline.progress import Progress
from .pipeline.scaling import ScalingWarning, check_scaling
from .runtime import CudaOptions, Precision
from .store import Compaction, Merge, Store, compact, info, merge, open, verify
from .types import Batch, Layer, ReadFailure, Reject, RejectWarning, Row
from .viz.maps import FeatureMaps, maps
from .viz.report import Report, build_report, write_report

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
    "StoreMemoryError",
    "StoreMismatchError",
    "StoreNotFoundError",
    "StoreReadError",
    "StoreWriteError",
    "analyse",
    "build_report",
    "check_scaling",
    "compact",
    "convert",
    "extract_to_store",
    "info",
    "list_pictures",
    "maps",
    "merge",
    "normalize",
    "open",
    "verify",
    "verify_model",
    "write_report",
]
