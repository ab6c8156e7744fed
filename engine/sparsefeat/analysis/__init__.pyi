from .analysis import analyse
from .counting import PictureZeros, count_pictures, count_store, end_of_walk, missing_of_walk
from .counts import Accumulator, LayerZeros, Spread, spread_of
from .flatness import Flatness, flatness_of
from .result import Sparsity, layer_facts
from .statistics import Correlation, Difference, Estimate, compare_shares, correlate
from .tables import (
    By,
    channel_table,
    correlation_table,
    difference_frame,
    difference_table,
    heading,
    label_table,
    layer_table,
    long_table,
    picture_table,
    pictures_read,
    position_grid,
    scaling_frame,
    scaling_table,
)
from .wrong_scalings import ScalingZeros, compare_scalings, scalings

__all__ = [
    "Accumulator",
    "By",
    "Correlation",
    "Difference",
    "Estimate",
    "Flatness",
    "LayerZeros",
    "PictureZeros",
    "ScalingZeros",
    "Sparsity",
    "Spread",
    "analyse",
    "channel_table",
    "compare_scalings",
    "compare_shares",
    "correlate",
    "correlation_table",
    "count_pictures",
    "count_store",
    "difference_frame",
    "difference_table",
    "end_of_walk",
    "flatness_of",
    "heading",
    "label_table",
    "layer_facts",
    "layer_table",
    "long_table",
    "missing_of_walk",
    "picture_table",
    "pictures_read",
    "position_grid",
    "scaling_frame",
    "scaling_table",
    "scalings",
    "spread_of",
]
