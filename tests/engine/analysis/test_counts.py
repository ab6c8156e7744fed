import numpy as np

from sparsefeat.analysis import Accumulator, LayerZeros
from sparsefeat.types import Layer
from sparsefeat_kernels import encode

LAYER = Layer(name="block1_pool", shape=(1, 2, 4))


def counted(*rows: list[int]) -> LayerZeros:
    accumulator = Accumulator(LAYER)
    accumulator.add(encode(np.array(rows, np.float32)))
    return accumulator.result()


def test_words_for_channels() -> None:
    zeros = counted([0, 1, 1, 1, 0, 0, 2, 0], [0, 0, 1, 0, 0, 3, 3, 0])
    assert zeros.dead.tolist() == [0], "zero everywhere"
    assert zeros.always_on is not None
    assert zeros.always_on.tolist() == [1, 2], "active somewhere in each picture"
    assert zeros.never_zero.tolist() == [2], "active at every position of each picture"
    assert zeros.share == 9 / 16
    assert zeros.channel_shares.tolist() == [1, 0.5, 0, 0.75]
    assert zeros.position_shares is not None
    assert zeros.position_shares.tolist() == [[0.5, 0.625]]


def test_spread_over_pictures() -> None:
    spread = counted([0] * 8, [0, 1] * 4, [1] * 8).spread
    assert (spread.min, spread.mean, spread.max) == (0, 0.5, 1)
