from .extraction import ExtractionResult, extract
from .extractor import Extractor
from .profile import Profile
from .scaling import check_scaling

__all__ = [
    "ExtractionResult",
    "Extractor",
    "Profile",
    "check_scaling",
    "extract",
]
