from .build import build_report
from .floor import Floor, estimate_floor
from .outliers import Outlier, find_outliers
from .page import render_report, write_report
from .result import Picture, Rejects, Report
from .sizes import LayerSize, Sizes
from .thumbnails import Thumbnail

__all__ = [
    "Floor",
    "LayerSize",
    "Outlier",
    "Picture",
    "Rejects",
    "Report",
    "Sizes",
    "Thumbnail",
    "build_report",
    "estimate_floor",
    "find_outliers",
    "render_report",
    "write_report",
]
