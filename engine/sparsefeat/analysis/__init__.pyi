from .analysis import analyse
from .counting import ImageZeros, count_images, count_store, explain_last_stage, missing_stages
from .counts import Accumulator, LayerZeros, Spread, compute_spread
from .flatness import Flatness, compute_flatness
from .result import Sparsity, layer_facts
from .statistics import Correlation, Difference, Estimate, compare_shares, correlate
from .tables import (
    By,
    channel_table,
    correlation_table,
    describe_images_read,
    difference_frame,
    difference_table,
    heading,
    image_table,
    label_table,
    layer_table,
    long_table,
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
    "ImageZeros",
    "LayerZeros",
    "ScalingZeros",
    "Sparsity",
    "Spread",
    "analyse",
    "channel_table",
    "compare_scalings",
    "compare_shares",
    "compute_flatness",
    "compute_spread",
    "correlate",
    "correlation_table",
    "count_images",
    "count_store",
    "describe_images_read",
    "difference_frame",
    "difference_table",
    "explain_last_stage",
    "heading",
    "image_table",
    "label_table",
    "layer_facts",
    "layer_table",
    "long_table",
    "missing_stages",
    "position_grid",
    "scaling_frame",
    "scaling_table",
    "scalings",
]
