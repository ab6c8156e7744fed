from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsefeat_export.quantization.steps import LEVELS, Ranges, chosen_steps, split, steps_of


def ranges(samples: Sequence[NDArray[np.float32]]) -> list[Ranges]:
    return [Ranges(largest=one.max(axis=0).astype(np.float64), samples=one) for one in samples]


def test_trust_goes_from_one_step_for_all_to_one_each() -> None:
    largest = np.array([1.0, 10.0, 100.0])
    assert np.allclose(steps_of(largest, 0.0, 1.0) * LEVELS, 100)
    assert np.allclose(steps_of(largest, 1.0, 1.0) * LEVELS, largest)


def test_a_silent_layer_has_steps_above_zero() -> None:
    assert np.all(steps_of(np.zeros(4), 1.0, 1.0).astype(np.float32) > 0)


def test_faint_channels_get_their_own_steps_where_they_keep_to_their_range() -> None:
    generator = np.random.default_rng(0)
    scale = np.array([0.1, 1.0, 100.0], dtype=np.float32)
    samples = [generator.uniform(0, 1, (500, 3)).astype(np.float32) * scale for _ in range(8)]
    steps = chosen_steps(ranges(samples))
    assert steps[2] > 5 * steps[1]


def test_channels_that_photographs_disagree_on_share_a_step() -> None:
    # Each view has one channel that fires, and none has fired before: no range can be trusted.
    samples = [np.zeros((10, 8), dtype=np.float32) for _ in range(8)]
    for index, one in enumerate(samples):
        one[:, index] = 100
    steps = chosen_steps(ranges(samples))
    assert steps.min() == steps.max()
    assert steps.min() * LEVELS >= 100


def test_channels_are_split_where_few_values_are_large() -> None:
    generator = np.random.default_rng(0)
    samples = generator.uniform(0, 1, (4000, 4)).astype(np.float32)
    samples[:20, [1, 3]] *= 50
    views = ranges([samples])
    steps = np.full(4, 50 / LEVELS)
    counts = split(steps, views, np.array([1e-9, 1.0, 1e-9, 1.0]), 2, (2, 4, 8))
    assert counts.channel.tolist() == [0, 1, 2, 3, 1, 3]
    assert np.array_equal(counts.steps[[0, 2]], steps[:2])
    assert np.all(counts.steps[[1, 3]] == steps[0] / 8)
    assert np.all(counts.steps[4:] == steps[0] * 7 / 8)
    assert np.array_equal(counts.beyond, [0, 0, 0, 0, *(LEVELS * counts.steps[[1, 3]])])
    counted = counts.of(samples.T[:, :, np.newaxis])
    assert counted.shape == (6, 4000, 1)
    values = counted[:, :, 0].T * counts.steps
    together = values[:, :4].copy()
    together[:, [1, 3]] += values[:, 4:]
    error = np.abs(together - samples)
    assert error.max() <= steps[0] / 2 * (1 + 1e-5)
    assert np.median(error[:, [1, 3]]) < np.median(error[:, [0, 2]]) / 7
    assert not counted[4:][counted[[1, 3]] < LEVELS].any()


def test_nothing_is_split_unless_asked_for() -> None:
    samples = np.random.default_rng(0).uniform(0, 1, (50, 3)).astype(np.float32)
    counts = split(np.ones(3), ranges([samples]), np.ones(3), 0, (2,))
    assert counts.channel.tolist() == [0, 1, 2]
    assert not counts.beyond.any()
