from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsefeat_export.quantization.scales import (
    BITS,
    FINENESSES,
    HALVES,
    LEVELS,
    Ranges,
    choose_scales,
    round_scales,
    scales_from_ranges,
    split,
)


def ranges(samples: Sequence[NDArray[np.float32]]) -> list[Ranges]:
    return [Ranges(largest=one.max(axis=0).astype(np.float64), samples=one) for one in samples]


def test_trust_goes_from_one_scale_to_one_per_channel() -> None:
    largest = np.array([1.0, 10.0, 100.0])
    assert np.allclose(scales_from_ranges(largest, 0.0, 1.0) * LEVELS, 100)
    assert np.allclose(scales_from_ranges(largest, 1.0, 1.0) * LEVELS, largest)


def test_a_layer_of_zeros_has_positive_scales() -> None:
    assert np.all(scales_from_ranges(np.zeros(4), 1.0, 1.0).astype(np.float32) > 0)


def test_weak_channels_get_their_own_scales_if_their_range_is_stable() -> None:
    generator = np.random.default_rng(0)
    scale = np.array([0.1, 1.0, 100.0], dtype=np.float32)
    samples = [generator.uniform(0, 1, (500, 3)).astype(np.float32) * scale for _ in range(8)]
    scales = choose_scales(ranges(samples))
    assert scales[2] > 5 * scales[1]


def test_channels_with_unstable_ranges_share_a_scale() -> None:
    # In each view another channel is active, so no range can be predicted from earlier views.
    samples = [np.zeros((10, 8), dtype=np.float32) for _ in range(8)]
    for index, one in enumerate(samples):
        one[:, index] = 100
    scales = choose_scales(ranges(samples))
    assert scales.min() == scales.max()
    assert scales.min() * LEVELS >= 100


def test_channels_are_split_where_few_values_are_large() -> None:
    generator = np.random.default_rng(0)
    samples = generator.uniform(0, 1, (4000, 4)).astype(np.float32)
    samples[:20, [1, 3]] *= 50
    views = ranges([samples])
    scales = np.full(4, 50 / LEVELS)
    coding = split(scales, views, np.array([1e-9, 1.0, 1e-9, 1.0]), 2, (2, 5, 9))
    assert coding.channel.tolist() == [0, 1, 2, 3, 1, 3]
    assert np.array_equal(coding.scales[[0, 2]], round_scales(scales[:2]))
    assert np.all(coding.scales[[1, 3]] == round_scales(scales / 9)[0])
    assert np.all(coding.scales[4:] == 8 * coding.scales[1])
    assert np.array_equal(coding.beyond, [0, 0, 0, 0, *(LEVELS * coding.scales[[1, 3]])])
    codes = coding.encode(samples.T[:, :, np.newaxis])
    assert codes.shape == (6, 4000, 1)
    values = codes[:, :, 0].T * coding.scales
    together = values[:, :4].copy()
    together[:, [1, 3]] += values[:, 4:]
    whole = coding.combine(codes)
    assert whole.dtype == np.uint16
    np.testing.assert_array_equal(whole[:, :, 0].T * coding.scales[:4], together)
    error = np.abs(together - samples)
    assert error.max() <= scales[0] / 2 * (1 + 2**-BITS)
    assert np.median(error[:, [1, 3]]) < np.median(error[:, [0, 2]]) / 7
    assert not codes[4:][codes[[1, 3]] < LEVELS].any()


def test_codes_times_scales_are_exact_in_any_order() -> None:
    scales = round_scales(np.exp(np.random.default_rng(0).normal(0, 20, 1000))).astype(np.float32)
    assert np.array_equal(scales, round_scales(scales.astype(np.float64)))
    for fineness in (*HALVES, *FINENESSES):
        largest = LEVELS + (fineness - 1) * LEVELS
        whole = np.arange(largest + 1, dtype=np.float32)[:, np.newaxis]
        exact = whole.astype(np.float64) * scales
        assert np.array_equal(whole * scales, exact)
        # A provider may compute fine + times * coarse with the scales first, or with one folded in.
        times = np.float32(fineness - 1)
        assert np.array_equal((whole / times) * (times * scales), exact)


def test_rounded_scales_are_close() -> None:
    scales = np.exp(np.random.default_rng(1).normal(0, 20, 1000))
    assert np.abs(round_scales(scales) / scales - 1).max() <= 2.0**-BITS


def test_nothing_is_split_unless_asked_for() -> None:
    samples = np.random.default_rng(0).uniform(0, 1, (50, 3)).astype(np.float32)
    coding = split(np.ones(3), ranges([samples]), np.ones(3), 0, (2,))
    assert coding.channel.tolist() == [0, 1, 2]
    assert not coding.beyond.any()
    codes = coding.encode(samples.T[:, :, np.newaxis])
    assert coding.combine(codes) is codes
