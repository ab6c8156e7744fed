import numpy as np
import pytest

from sparsefeat.analysis import Difference, compare_shares, correlate


def test_correlations_of_ten_images() -> None:
    """Calculated by hand: squared differences of ranks add up to 24, so r = 1 - 144 / 990."""
    x, y = np.arange(1.0, 11), np.array([2, 1, 4, 3, 7, 8, 6, 5, 10, 9.0])
    pearson, spearman = correlate(x, y).pearson, correlate(x, y**3).spearman
    assert pearson is not None
    assert spearman is not None
    figures = (pearson.value, pearson.low, pearson.high)
    assert figures == pytest.approx((47 / 55, 0.486885, 0.964973), abs=1e-6)
    figures = (spearman.value, spearman.low, spearman.high)
    assert figures == pytest.approx((47 / 55, 0.386118, 0.972601), abs=1e-6)


def test_spearman_s_interval_contains_the_true_value_in_95_percent() -> None:
    # For normal pairs of correlation r, Spearman's is 6 / pi * asin(r / 2).
    rng, r = np.random.default_rng(5), 0.6
    true = 6 / np.pi * np.arcsin(r / 2)
    held = 0
    for _ in range(1000):
        x = rng.normal(size=30)
        y = r * x + np.sqrt(1 - r * r) * rng.normal(size=30)
        estimate = correlate(x, y).spearman
        assert estimate is not None
        held += estimate.low <= true <= estimate.high
    assert held / 1000 == pytest.approx(0.95, abs=0.02)  # three standard deviations


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_order_of_few_images_has_a_wide_interval(sign: int) -> None:
    estimate = correlate(np.arange(5.0), sign * np.arange(5.0) ** 2).spearman
    assert estimate is not None
    assert estimate.value == sign
    ends = sorted([sign * estimate.low, sign * estimate.high])
    assert ends[1] == 1
    assert ends[0] < 0.3


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [4, 5, 30])
def test_a_straight_line_of_few_images_has_a_wide_interval(sign: int, n: int) -> None:
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
def test_too_few_or_equal_values_have_no_correlation(x: np.ndarray, y: np.ndarray) -> None:
    found = correlate(x, y)
    assert found.spearman is found.pearson is None


def test_images_without_a_value_are_left_out() -> None:
    x = np.array([1, 2, np.nan, 3, 5, 4])
    found = correlate(x, np.array([1.0, 2, 9, 3, 5, 4]))
    assert found.n_images == 5
    assert found.spearman is not None
    assert found.spearman.value == 1


def compared(ours: list[float], theirs: list[float]) -> Difference:
    found = compare_shares(
        np.array(ours, float), np.array(theirs, float), layer="fc1", name="b", baseline="a"
    )
    assert found is not None
    return found


def test_the_interval_of_a_difference_is_welch_s() -> None:
    """The means have variances 0.01 / 3 and 0.07 / 21, so six degrees of freedom: t is 2.446912."""
    found = compared([0.5, 0.6, 0.7], [0.2, 0.6, 0.7, 0.5, 0.5, 0.5, 0.5])
    margin = 2.446912 * (0.02 / 3) ** 0.5
    assert found.difference == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1 - margin, 0.1 + margin), abs=1e-6)


def test_equal_distributions_rarely_show_a_difference() -> None:
    rng, shown = np.random.default_rng(8), 0
    for _ in range(1000):
        ours, theirs = rng.normal(0.9, 0.03, 15).tolist(), rng.normal(0.9, 0.06, 8).tolist()
        shown += compared(ours, theirs).verdict != "no difference shown"
    assert shown / 1000 == pytest.approx(0.05, abs=0.02)  # three standard deviations


def test_verdicts_follow_the_interval() -> None:
    low, high = [0.50, 0.51, 0.52], [0.60, 0.61, 0.62]
    assert compared(high, low).verdict == "more zeros"
    assert compared(low, high).verdict == "fewer zeros"
    assert compared(low, [0.49, 0.515, 0.54]).verdict == "no difference shown"
    one = compared(low, [0.9])
    assert one.verdict == "too few images"
    assert one.low is one.high is None
    assert (one.n_images, one.n_baseline) == (3, 1)


def test_sets_without_spread_are_too_few_images() -> None:
    for ours in ([0.5, 0.5], [0.75, 0.75]):
        found = compared(ours, [0.5, 0.5])
        assert (found.low, found.high, found.verdict) == (None, None, "too few images")
    assert compared([0.75, 0.75], [0.5, 0.5, 0.51]).verdict == "more zeros"


def test_an_empty_set_has_no_difference() -> None:
    empty, one = np.empty(0), np.ones(1)
    for pair in ((empty, one), (one, empty)):
        assert compare_shares(*pair, layer="fc1", name="b", baseline="a") is None
