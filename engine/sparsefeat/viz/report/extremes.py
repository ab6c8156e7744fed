"""The pictures with the most zeros, and those with the fewest."""

from collections.abc import Mapping

import numpy as np

from sparsefeat.analysis import LayerZeros
from sparsefeat.model import PRE


def telling_layer(counts: Mapping[str, LayerZeros]) -> str:
    """Choose the layer by which pictures are ranked.

    It is the last one in which pictures differ, one before ReLU only if there is no other: the
    deeper a layer, the more its zeros have to do with what is in a picture.
    """
    after = [name for name in counts if not name.endswith(PRE)] or list(counts)
    differing = [name for name in after if len(np.unique(counts[name].per_row)) > 1]
    return (differing or after)[-1]


def rank_rows(zeros: LayerZeros, most: int) -> tuple[list[int], list[int]]:
    """Give the rows with the most zeros, and those with the fewest, the furthest first.

    No row is in both: of few rows, the middle one, if there is one, is in neither.
    """
    count = min(most, zeros.n_rows // 2)
    order = np.argsort(zeros.per_row, kind="stable")
    return order[::-1][:count].tolist(), order[:count].tolist()
