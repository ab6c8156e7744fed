"""Pictures whose share of zeros is far from that of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat.analysis import LayerZeros
from sparsefeat.model.layer_names import PRE

LEAST_ROWS = 10  # of fewer, none can be said to be unusual
FAR = 3.5
LEAST_SPREAD = 0.001  # of a layer's elements: who differs from hardly any zeros is not unusual


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlier:
    """A picture, and the layer in which it is furthest from the others."""

    row: int
    path: str
    layer: str
    zeros: float  # share of zeros there
    z: float  # negative: fewer zeros than the others
    layers: tuple[str, ...]  # all in which it is far


def find_outliers(counts: Mapping[str, LayerZeros], paths: Sequence[str]) -> tuple[Outlier, ...]:
    """Find pictures whose share of zeros is far from that of the others.

    In each layer, the robust z score of a picture is 0.6745 (x - median) / MAD, where x is its
    share of zeros and MAD the median of the distances from the median: of normally distributed
    numbers, it would be the distance from the mean in standard deviations. From 3.5 on a picture
    is far (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993). The MAD is taken as at
    least one element and a thousandth of the layer's, so that a far picture is half a percentage
    point away or more.

    Nothing is said of fewer than 10 pictures, nor of a layer in which more than half of them
    have the same share, nor of one before ReLU, where the few zeros are accidents.

    Parameters
    ----------
    counts
        What was counted of each layer.
    paths
        What the N pictures are called.

    Returns
    -------
    The furthest first.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for layer, zeros in counts.items():
        if layer.endswith(PRE):
            continue
        scores = robust_z(zeros.per_row, floor=max(1.0, LEAST_SPREAD * zeros.layer.n_features))
        for row in np.flatnonzero(np.abs(scores) >= FAR).tolist():
            found.setdefault(row, []).append((float(scores[row]), layer))
    outliers = []
    for row, entries in found.items():
        z, layer = max(entries, key=lambda entry: abs(entry[0]))
        outliers.append(
            Outlier(
                row=row,
                path=paths[row],
                layer=layer,
                zeros=float(counts[layer].row_shares[row]),
                z=z,
                layers=tuple(name for _, name in entries),
            )
        )
    return tuple(sorted(outliers, key=lambda outlier: (-abs(outlier.z), outlier.row)))


def robust_z(numbers: npt.NDArray[np.int64], *, floor: float = 0.0) -> npt.NDArray[np.float64]:
    """Score each number by its distance from the median: see `find_outliers`.

    The MAD is taken as at least `floor`, unless it is 0.

    Examples
    --------
    >>> robust_z(np.array([3, 4, 5, 6, 7, 4, 5, 6, 5, 50])).round(1).tolist()[-2:]
    [0.0, 30.4]
    """
    if len(numbers) < LEAST_ROWS:
        return np.zeros(len(numbers))
    away = numbers - np.median(numbers)
    mad = float(np.median(np.abs(away)))
    return 0.6745 * away / max(mad, floor) if mad else np.zeros(len(numbers))
