"""Feature maps: the channels of one layer for one image, before and after ReLU.

=================  ==================================================================
`feature_maps`     computes the maps of an image, and shows them
`channels`         chooses channels: by number, or the best by a criterion
`arrays`           holds the maps, their zeros, and the panels to draw
`colours`          colour maps, and the colour of zero
`figure`           draws a plotly figure, for notebooks
`mosaic`           draws a PNG file with matplotlib
`codes`            packs activations into two bytes each, for the page
`page`             writes an interactive page of all channels
=================  ==================================================================
"""

from sparsefeat.viz.maps.arrays import STAGES, Scale, Stage
from sparsefeat.viz.maps.channels import CRITERIA, Criterion
from sparsefeat.viz.maps.feature_maps import FeatureMaps, maps, outputs
from sparsefeat.viz.maps.mosaic import check_matplotlib

__all__ = [
    "CRITERIA",
    "STAGES",
    "Criterion",
    "FeatureMaps",
    "Scale",
    "Stage",
    "check_matplotlib",
    "maps",
    "outputs",
]
