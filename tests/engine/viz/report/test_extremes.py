import numpy as np

from sparsefeat.analysis import LayerZeros
from sparsefeat.types import Layer
from sparsefeat.viz.report.extremes import rank_rows, telling_layer


def counted(per_row: list[int]) -> LayerZeros:
    return LayerZeros(
        layer=Layer(name="any", shape=(10,)),
        per_row=np.array(per_row, np.int64),
        per_channel=np.zeros(10, np.int64),
        per_position=None,
        active_rows=None,
    )


def test_the_last_layer_in_which_pictures_differ_ranks_them() -> None:
    pools = {"block4_pool": counted([3, 4]), "block5_pool": counted([5, 4])}
    assert telling_layer(pools) == "block5_pool"
    assert telling_layer(pools | {"predictions": counted([0, 0])}) == "block5_pool"
    assert telling_layer(pools | {"fc1/pre": counted([0, 1])}) == "block5_pool"
    assert telling_layer({"fc1/pre": counted([0, 1])}) == "fc1/pre"
    assert telling_layer({"a": counted([]), "b": counted([])}) == "b"


def test_the_furthest_first_and_nobody_twice() -> None:
    assert rank_rows(counted([5, 9, 1, 7, 3]), 2) == ([1, 3], [2, 4])
    assert rank_rows(counted([5, 9, 1, 7, 3]), 6) == ([1, 3], [2, 4])
    assert rank_rows(counted([5]), 6) == rank_rows(counted([]), 6) == ([], [])
