"""What numbers, one for each picture, look like together."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Mean and spread over pictures.

    `std` is the sample's, with N - 1 below; None for fewer than two pictures. The rest is None
    where there are no pictures.
    """

    mean: float | None
    std: float | None
    min: float | None
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None
    max: float | None


def spread_of(values: npt.NDArray[np.float64]) -> Spread:
    """Sum up float64 (N,); quartiles are linear between neighbours, as numpy has them.

    Examples
    --------
    >>> spread_of(np.array([0.5, 0.75, 1.0])).upper_quartile
    0.875
    """
    if not len(values):
        return Spread(
            mean=None,
            std=None,
            min=None,
            lower_quartile=None,
            median=None,
            upper_quartile=None,
            max=None,
        )
    least, lower, median, upper, greatest = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return Spread(
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if len(values) > 1 else None,
        min=least,
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        max=greatest,
    )
