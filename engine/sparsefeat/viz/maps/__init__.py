"""Feature maps: what a layer's channels see in one image, before and after ReLU.

=================  ==================================================================
`feature_maps`     one image through one layer, and the ways to show it
`channels`         which channels: by number, or the best by a criterion
`arrays`           the arrays, their zeros, and what of them stands side by side
`colours`          colour maps, and the colour of zero
`figure`           a plotly figure, for notebooks
`mosaic`           a plain image, through matplotlib
`codes`            activations in two bytes each, for the page
`page`             one page for all channels
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
