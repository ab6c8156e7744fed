import numpy as np
import pytest

from sparsefeat.analysis import LayerZeros
from sparsefeat.types import Layer
from sparsefeat.viz.report import find_outliers
from sparsefeat.viz.report.outliers import robust_z


def counted(name: str, per_row: list[int]) -> LayerZeros:
    return LayerZeros(
        layer=Layer(name=name, shape=(1000,)),
        per_row=np.array(per_row),
        per_channel=np.zeros(1000, np.int64),
        per_position=None,
        active_rows=None,
    )


def test_scores_are_standard_deviations_of_normal_numbers() -> None:
    # The median is 80, the median distance from it 20: 0.6745 of a deviation of normal numbers.
    scores = robust_z(np.array([0, 40, 60, 80, 80, 80, 80, 100, 120, 800]))
    expected = [-2.698, -1.349, -0.6745, 0, 0, 0, 0, 0.6745, 1.349, 24.282]
    assert scores.tolist() == pytest.approx(expected)
    numbers = np.random.default_rng(0).normal(500, 20, 10_001).round().astype(np.int64)
    assert robust_z(numbers).std() == pytest.approx(1, abs=0.05)


def test_the_furthest_come_first_with_the_layer_they_are_furthest_in() -> None:
    usual = [500, 501, 502, 503, 504, 505, 506, 507, 508, 509]
    counts = {
        "a": counted("a", [*usual, 900, 520]),
        "b": counted("b", [*usual, 300, 504]),
    }
    found = find_outliers(counts, [f"{row}.jpg" for row in range(12)])
    assert [outlier.row for outlier in found] == [10]
    (one,) = found
    assert (one.path, one.layer, one.zeros, one.layers) == ("10.jpg", "a", 0.9, ("a", "b"))
    assert one.z > 3.5
    low = find_outliers({"b": counts["b"]}, [""] * 12)[0]
    assert low.z < -3.5


def test_accidental_zeros_make_nobody_unusual() -> None:
    usual, few = [500, 502, 504, 506, 508] * 3, [0, 1, 2, 3, 4] * 3
    pre = {"a/pre": counted("a/pre", [*usual, 900])}
    assert find_outliers(pre, [""] * 16) == ()
    large = LayerZeros(
        layer=Layer(name="a", shape=(1_000_000,)),
        per_row=np.array([*few, 60]),
        per_channel=np.zeros(1_000_000, np.int64),
        per_position=None,
        active_rows=None,
    )
    assert find_outliers({"a": large}, [""] * 16) == ()
    assert [each.row for each in find_outliers({"a": counted("a", [*few, 60])}, [""] * 16)] == [15]
    halves = [3, 4] * 8
    assert find_outliers({"a": counted("a", [*halves, 7])}, [""] * 17) == ()


@pytest.mark.parametrize("per_row", [[1, 1, 1, 1, 1, 1, 1, 1, 900], [7] * 12 + [900], []])
def test_too_few_or_too_equal_to_tell(per_row: list[int]) -> None:
    assert find_outliers({"a": counted("a", per_row)}, [""] * len(per_row)) == ()
