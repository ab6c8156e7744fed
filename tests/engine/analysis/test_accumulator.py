import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefeat.analysis import Accumulator
from sparsefeat.types import Layer
from sparsefeat_kernels import encode

SHAPES = ((2, 3, 4), (1, 1, 5), (7,), (4, 4, 1))


@given(
    shape=st.sampled_from(SHAPES),
    batches=st.lists(st.integers(0, 3), max_size=4),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None)
def test_batches_count_as_numpy_does(
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
    places = x.reshape(len(x), layer.n_features // layer.n_channels, layer.n_channels)
    assert zeros.n_rows == len(x)
    assert zeros.share == (np.mean(x == 0) if len(x) else None)
    assert zeros.per_row.tolist() == (x == 0).sum(axis=1).tolist()
    assert zeros.per_channel.tolist() == (places == 0).sum(axis=(0, 1)).tolist()
    assert zeros.active_rows is not None
    assert zeros.active_rows.tolist() == (places != 0).any(axis=1).sum(axis=0).tolist()
    if len(shape) == 1:
        assert zeros.per_position is None
    else:
        assert zeros.per_position is not None
        assert zeros.per_position.tolist() == (
            (places == 0).sum(axis=(0, 2)).reshape(shape[:2]).tolist()
        )


def test_a_result_stays_as_it_was() -> None:
    accumulator = Accumulator(Layer(name="fc1", shape=(2,)))
    before = accumulator.result()
    accumulator.add(encode(np.zeros((1, 2), np.float32)))
    assert before.n_rows == 0
    assert before.per_channel.tolist() == [0, 0]
    assert accumulator.result().per_channel.tolist() == [1, 1]
