import numpy as np
import pytest
from scipy import stats

from sparsefeat.analysis import Difference, compare_shares

rng = np.random.default_rng(8)


def compared(ours: list[float], theirs: list[float]) -> Difference:
    found = compare_shares(
        np.array(ours, float), np.array(theirs, float), layer="fc1", name="b", baseline="a"
    )
    assert found is not None
    return found


def test_the_interval_is_welch_s() -> None:
    ours, theirs = rng.normal(0.6, 0.1, 12).tolist(), rng.normal(0.5, 0.02, 30).tolist()
    found = compared(ours, theirs)
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    assert found.low == pytest.approx(interval.low)
    assert found.high == pytest.approx(interval.high)
    assert found.difference == pytest.approx(np.mean(ours) - np.mean(theirs))


def test_a_set_against_one_like_it_rarely_shows_a_difference() -> None:
    shown = 0
    for _ in range(300):
        ours, theirs = rng.normal(0.9, 0.03, 15).tolist(), rng.normal(0.9, 0.06, 8).tolist()
        shown += compared(ours, theirs).verdict != "no difference shown"
    assert 0 < shown / 300 < 0.09


def test_verdicts() -> None:
    low, high = [0.50, 0.51, 0.52], [0.60, 0.61, 0.62]
    assert compared(high, low).verdict == "more zeros"
    assert compared(low, high).verdict == "fewer zeros"
    assert compared(low, [0.49, 0.515, 0.54]).verdict == "no difference shown"
    one = compared(low, [0.9])
    assert one.verdict == "too few pictures"
    assert one.low is one.high is None
    assert (one.n_pictures, one.n_baseline) == (3, 1)


def test_sets_without_spread() -> None:
    for ours in ([0.5, 0.5], [0.75, 0.75]):
        found = compared(ours, [0.5, 0.5])
        assert (found.low, found.high, found.verdict) == (None, None, "too few pictures")
    assert compared([0.75, 0.75], [0.5, 0.5, 0.51]).verdict == "more zeros"


def test_an_empty_set() -> None:
    empty, one = np.empty(0), np.ones(1)
    for pair in ((empty, one), (one, empty)):
        assert compare_shares(*pair, layer="fc1", name="b", baseline="a") is None
