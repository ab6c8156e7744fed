"""The extractor, which turns images into activations, and the extraction to a store."""

from sparsefeat.pipeline.extraction import check_store, extract
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.pipeline.options import ExtractorOptions
from sparsefeat.pipeline.profile import Profile
from sparsefeat.pipeline.result import ExtractionResult
from sparsefeat.pipeline.scaling import check_scaling

__all__ = [
    "ExtractionResult",
    "Extractor",
    "ExtractorOptions",
    "Profile",
    "check_scaling",
    "check_store",
    "extract",
]
