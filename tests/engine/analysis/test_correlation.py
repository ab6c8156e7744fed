import numpy as np
import pytest
from scipy import stats

from sparsefeat.analysis import correlate

rng = np.random.default_rng(5)


def test_figures_are_scipys() -> None:
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    found = correlate(x, y)
    assert found.n_pictures == 40
    assert found.pearson is not None
    assert found.spearman is not None
    linear = stats.pearsonr(x, y)
    assert found.pearson.value == linear.statistic
    bounds = linear.confidence_interval(0.95)
    assert (found.pearson.low, found.pearson.high) == (bounds.low, bounds.high)
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.spearman.low < found.spearman.value < found.spearman.high


def test_spearman_s_interval_holds_about_as_often_as_it_says() -> None:
    # For normal pairs of correlation r, Spearman's is 6 / pi * asin(r / 2).
    r = 0.6
    true = 6 / np.pi * np.arcsin(r / 2)
    held = 0
    for _ in range(300):
        x = rng.normal(size=30)
        y = r * x + np.sqrt(1 - r * r) * rng.normal(size=30)
        estimate = correlate(x, y).spearman
        assert estimate is not None
        held += estimate.low <= true <= estimate.high
    assert 0.91 < held / 300 < 0.99


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_order_of_few_pictures_proves_little(sign: int) -> None:
    estimate = correlate(np.arange(5.0), sign * np.arange(5.0) ** 2).spearman
    assert estimate is not None
    assert estimate.value == sign
    ends = sorted([sign * estimate.low, sign * estimate.high])
    assert ends[1] == 1
    assert ends[0] < 0.3


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [4, 5, 30])
def test_a_straight_line_of_few_pictures_proves_as_little(sign: int, n: int) -> None:
    found = correlate(np.arange(float(n)), sign * np.arange(float(n)) / 7)
    assert found.spearman is not None
    assert found.pearson is not None
    ends = []
    for estimate in (found.pearson, found.spearman):
        assert estimate.value == sign
        low, high = sorted([sign * estimate.low, sign * estimate.high])
        assert high == 1
        ends.append(low)
    pearson, spearman = ends
    assert spearman < pearson < 1
    assert (pearson < 0.7) == (n < 6)
    assert (pearson > 0.98) == (n == 30)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.arange(3.0), np.arange(3.0)),
        (np.arange(9.0), np.ones(9)),
        (np.array([1, 2, 3, np.nan, np.nan]), np.arange(5.0)),
        (np.empty(0), np.empty(0)),
    ],
)
def test_where_there_is_nothing_to_say(x: np.ndarray, y: np.ndarray) -> None:
    found = correlate(x, y)
    assert found.spearman is found.pearson is None


def test_pictures_without_a_figure_are_left_out() -> None:
    x = np.array([1, 2, np.nan, 3, 5, 4])
    found = correlate(x, np.array([1.0, 2, 9, 3, 5, 4]))
    assert found.n_pictures == 5
    assert found.spearman is not None
    assert found.spearman.value == 1
