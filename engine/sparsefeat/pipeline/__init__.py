"""From images to rows: the extractor and the extraction run."""

from sparsefeat.pipeline.extraction import ExtractionResult, extract
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.pipeline.profile import Profile
from sparsefeat.pipeline.scaling import check_scaling

__all__ = [
    "ExtractionResult",
    "Extractor",
    "Profile",
    "check_scaling",
    "extract",
]
