import numpy as np

from sparsefeat_export.quantization.rounding import (
    choose_weight_scales,
    round_to_nearest,
    round_with_compensation,
)


def test_compensation_changes_the_output_less_than_rounding_to_nearest() -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(200, 200)) * generator.uniform(0.01, 1, 200)
    inputs = generator.normal(size=(2000, 200)) @ mixing
    weights = generator.normal(size=(16, 200))
    moments = inputs.T @ inputs / len(inputs)
    scales = choose_weight_scales(weights, moments)

    def error(whole: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        return float(np.linalg.norm(inputs @ (whole * scales[:, None] - weights).T))

    assert error(round_with_compensation(weights, scales, moments)) < 0.8 * error(
        round_to_nearest(weights, scales)
    )


def test_results_are_whole_numbers_in_range() -> None:
    weights = np.random.default_rng(0).normal(size=(3, 150)) * 1000
    moments = np.eye(150)
    whole = round_with_compensation(weights, np.ones(3), moments)
    assert np.array_equal(whole, np.rint(whole))
    assert np.abs(whole).max() == 127


def test_a_channel_without_weights_keeps_zero_weights() -> None:
    weights = np.zeros((2, 9))
    scales = choose_weight_scales(weights, np.eye(9))
    assert np.all(scales > 0)
    assert not round_with_compensation(weights, scales, np.zeros((9, 9))).any()


def test_scales_clip_an_outlier_whose_input_is_weak() -> None:
    weights = np.random.default_rng(0).uniform(-1, 1, size=(1, 400))
    weights[0, 0] = 1.5
    moments = np.eye(400)
    moments[0, 0] = 0
    assert choose_weight_scales(weights, moments)[0] < 1.1 / 127
