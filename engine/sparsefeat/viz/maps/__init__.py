"""Feature maps: what a layer's channels see in one photograph, before and after ReLU.

=================  ==================================================================
`compute`          one photograph through one layer
`selection`        which channels: ``0-15``, ``3,8,12``, ``top:16``
`criteria`         what makes a channel a good one: energy, variance, contrast, selectivity
`reference`        what channels do on other photographs, for selectivity
`result`           the arrays, their zeros, and the ways to show them
`panels`           what stands side by side: the stages, or what ReLU keeps and clips
`colours`          colour maps, and the colour of zero
`figure`           a plotly figure, for notebooks
`mosaic`           a plain picture, through matplotlib
`codes`            activations in two bytes each, for the page
`page`             one page for all channels
=================  ==================================================================
"""

from sparsefeat.viz.maps.compute import maps
from sparsefeat.viz.maps.criteria import CRITERIA, Criterion
from sparsefeat.viz.maps.panels import STAGES, Scale, Stage
from sparsefeat.viz.maps.result import FeatureMaps

__all__ = ["CRITERIA", "STAGES", "Criterion", "FeatureMaps", "Scale", "Stage", "maps"]
