import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefeat.analysis import Accumulator, LayerZeros, compute_spread
from sparsefeat.types import Layer
from sparsefeat_kernels import encode

LAYER = Layer(name="block1_pool", shape=(1, 2, 4))
SHAPES = ((2, 3, 4), (1, 1, 5), (7,), (4, 4, 1))


def counted(*rows: list[int]) -> LayerZeros:
    accumulator = Accumulator(LAYER)
    accumulator.add(encode(np.array(rows, np.float32)))
    return accumulator.result()


def test_dead_always_on_and_never_zero_channels() -> None:
    zeros = counted([0, 1, 1, 1, 0, 0, 2, 0], [0, 0, 1, 0, 0, 3, 3, 0])
    assert zeros.dead.tolist() == [0], "zero everywhere"
    assert zeros.always_on is not None
    assert zeros.always_on.tolist() == [1, 2], "active somewhere in each image"
    assert zeros.never_zero.tolist() == [2], "active at every position of each image"
    assert zeros.sparsity == 9 / 16
    assert zeros.channel_sparsity.tolist() == [1, 0.5, 0, 0.75]
    assert zeros.position_sparsity is not None
    assert zeros.position_sparsity.tolist() == [[0.5, 0.625]]


def test_the_spread_is_over_images() -> None:
    spread = counted([0] * 8, [0, 1] * 4, [1] * 8).spread
    assert (spread.min, spread.mean, spread.max) == (0, 0.5, 1)


@given(
    shape=st.sampled_from(SHAPES),
    batches=st.lists(st.integers(0, 3), max_size=4),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_counting_by_batches_equals_numpy_s_counts(
    shape: tuple[int, ...], batches: list[int], density: float, seed: int
) -> None:
    layer = Layer(name="layer", shape=shape)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((sum(batches), layer.n_features)).astype(np.float32)
    x[rng.random(x.shape) >= density] = rng.choice([0.0, -0.0])
    accumulator, start = Accumulator(layer), 0
    for size in batches:
        accumulator.add(encode(x[start : start + size]))
        start += size
    zeros = accumulator.result()
    positions = x.reshape(len(x), layer.n_features // layer.n_channels, layer.n_channels)
    assert zeros.n_rows == len(x)
    assert zeros.sparsity == (np.mean(x == 0) if len(x) else None)
    assert zeros.per_row.tolist() == (x == 0).sum(axis=1).tolist()
    assert zeros.per_channel.tolist() == (positions == 0).sum(axis=(0, 1)).tolist()
    assert zeros.active_rows is not None
    assert zeros.active_rows.tolist() == (positions != 0).any(axis=1).sum(axis=0).tolist()
    if len(shape) == 1:
        assert zeros.per_position is None
    else:
        assert zeros.per_position is not None
        assert zeros.per_position.tolist() == (
            (positions == 0).sum(axis=(0, 2)).reshape(shape[:2]).tolist()
        )


def test_a_result_does_not_change_when_more_is_added() -> None:
    accumulator = Accumulator(Layer(name="fc1", shape=(2,)))
    before = accumulator.result()
    accumulator.add(encode(np.zeros((1, 2), np.float32)))
    assert before.n_rows == 0
    assert before.per_channel.tolist() == [0, 0]
    assert accumulator.result().per_channel.tolist() == [1, 1]


def test_the_spread_has_deviation_and_quartiles() -> None:
    spread = compute_spread(np.array([0.5, 0.0, 1.0]))
    assert (spread.min, spread.median, spread.max) == (0, 0.5, 1)
    assert (spread.mean, spread.std) == (0.5, 0.5)
    assert (spread.lower_quartile, spread.upper_quartile) == (0.25, 0.75)


def test_one_image_has_no_deviation_and_no_image_has_no_spread() -> None:
    one = compute_spread(np.array([0.5]))
    assert (one.mean, one.std) == (0.5, None)
    assert set(dataclasses.asdict(compute_spread(np.empty(0))).values()) == {None}
