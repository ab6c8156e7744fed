import numpy as np
import pytest

from sparsefeat.store.part.array import Segments
from sparsefeat.store.part.decoding import scale_rows, scale_stretches

STEPS = np.array([1, 0.5, 0.25], np.float32)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("squared", [False, True])
def test_stretches_and_nothing_else(index: type[np.integer], squared: bool) -> None:
    """One of them long enough for several threads."""
    codes = np.arange(1, 1_000_001, dtype=np.float32)
    indices = np.random.default_rng(0).integers(0, 300, 1_000_000).astype(index)
    segments = Segments(*(np.array(numbers) for numbers in ([0, 50], [60, 5], [900_000, 30])))
    values = codes.copy()
    scale_stretches(segments, values, indices, STEPS, squared=squared)
    expected = STEPS[indices % 3] * codes ** (1 + squared)
    inside = np.zeros(1_000_000, bool)
    inside[60:900_060] = inside[5:35] = True
    np.testing.assert_array_equal(values, np.where(inside, expected, codes))


@pytest.mark.parametrize("places", [[2], [3, 0, 1]])
@pytest.mark.parametrize("squared", [False, True])
def test_rows_and_no_others(places: list[int], squared: bool) -> None:
    codes = np.arange(24, dtype=np.float32).reshape(4, 6)
    out = codes.copy()
    scale_rows(np.array(places), out, STEPS, squared=squared)
    expected = np.tile(STEPS, 2) * codes ** (1 + squared)
    for row in range(4):
        np.testing.assert_array_equal(out[row], (expected if row in places else codes)[row])
