"""A report on a store: what is zero, where, what it takes, and how it was made.

===============  ====================================================================
`report`         its figures, gathered from a store
`sizes`          what layers take, and an estimate of what they could take
`images`       which images are shown, and small versions of them
`text`           a report in sentences
`plots`          its plots, and tables that say the same
`page`           all of it as one page
===============  ====================================================================
"""

from sparsefeat.viz.report.images import Outlier, Thumbnail, find_outliers
from sparsefeat.viz.report.page import render_report, write_report
from sparsefeat.viz.report.report import Rejects, Report, ReportedImage, build_report
from sparsefeat.viz.report.sizes import Floor, LayerSize, Sizes, estimate_floor
from sparsefeat.viz.report.text import findings, heading

__all__ = [
    "Floor",
    "LayerSize",
    "Outlier",
    "Rejects",
    "Report",
    "ReportedImage",
    "Sizes",
    "Thumbnail",
    "build_report",
    "estimate_floor",
    "find_outliers",
    "findings",
    "heading",
    "render_report",
    "write_report",
]
