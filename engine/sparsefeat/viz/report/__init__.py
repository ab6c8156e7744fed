"""Report on a store: zeros by layer, channel, position and image; sizes; provenance.

===============  ====================================================================
`report`         computes the numbers of a report
`sizes`          measures the bytes of layers, and estimates a lower limit
`images`         chooses the images to show, and makes thumbnails
`text`           writes a report as sentences and as rows of text
`plots`          draws plots, and makes tables with the same numbers
`page`           writes the page
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
