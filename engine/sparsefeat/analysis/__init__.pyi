from .accumulator import Accumulator
from .analysis import analyse
from .comparison import Difference, compare_shares
from .correlation import Correlation, Estimate, correlate
from .counts import LayerZeros
from .flatness import Flatness, flatness_of
from .from_pictures import PictureZeros, count_pictures
from .from_store import count_store
from .json_form import layer_facts
from .result import Sparsity
from .spread import Spread, spread_of
from .walk import end_of_walk, missing_of_walk
from .wrong_scalings import ScalingZeros, compare_scalings, scalings

__all__ = [
    "Accumulator",
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
    "compare_scalings",
    "compare_shares",
    "correlate",
    "count_pictures",
    "count_store",
    "end_of_walk",
    "flatness_of",
    "layer_facts",
    "missing_of_walk",
    "scalings",
    "spread_of",
]
