import dataclasses

import numpy as np

from sparsefeat.analysis import spread_of


def test_spread() -> None:
    spread = spread_of(np.array([0.5, 0.0, 1.0]))
    assert (spread.min, spread.median, spread.max) == (0, 0.5, 1)
    assert (spread.mean, spread.std) == (0.5, 0.5)
    assert (spread.lower_quartile, spread.upper_quartile) == (0.25, 0.75)


def test_one_picture_has_no_deviation_and_none_has_nothing() -> None:
    one = spread_of(np.array([0.5]))
    assert (one.mean, one.std) == (0.5, None)
    assert set(dataclasses.asdict(spread_of(np.empty(0))).values()) == {None}
