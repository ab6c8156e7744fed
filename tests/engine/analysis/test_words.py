import numpy as np
import pandas as pd
import pytest

import sparsefeat
from sparsefeat.analysis import Accumulator, compare_shares
from sparsefeat.analysis import words as say
from sparsefeat.system.text import percent
from sparsefeat.types import Layer
from sparsefeat_kernels import encode


@pytest.fixture(scope="module")
def found(store: sparsefeat.Store) -> sparsefeat.Sparsity:
    return sparsefeat.analyse(store, flatness=True)


def test_tables_fit_their_headings(found: sparsefeat.Sparsity) -> None:
    tables = {
        "layers": (say.layer_table(found), 4),
        "correlations": (say.correlation_table(found), 3),
        "pictures": (say.picture_table(found), 4),
        "channels": (
            say.channel_table(found),
            sum(z.layer.n_channels for z in found.counts.values()),
        ),
        "labels": (say.label_table(found), 8),
        "differences": (say.difference_table(found.compare_labels()), 4),
    }
    for name, ((columns, rows), n_rows) in tables.items():
        assert len(rows) == n_rows, name
        assert {len(row) for row in rows} == {len(columns)}, name


def test_heading(
    found: sparsefeat.Sparsity, extractor: sparsefeat.Extractor, photos: object
) -> None:
    assert say.heading(found).endswith("features: 4 pictures, 1 rejected")
    one = sparsefeat.analyse(f"{photos}/things/coffee.png", extractor=extractor)
    flat = percent(one.obs["flat_share"].iloc[0])
    assert say.heading(one).endswith(f": 1 picture, 0 rejected; {flat} of its 8x8 blocks are flat")
    columns, _ = say.layer_table(one)
    assert "std" not in columns


def test_channels_come_with_the_most_zeros_first_and_a_word() -> None:
    layer = Layer(name="conv", shape=(1, 2, 4))
    accumulator = Accumulator(layer)
    accumulator.add(
        encode(np.array([[0, 1, 1, 1, 0, 0, 2, 0], [0, 0, 1, 0, 0, 3, 3, 0]], np.float32))
    )
    set_of_two = sparsefeat.Sparsity(
        source="two",
        counts={"conv": accumulator.result()},
        obs=pd.DataFrame({"path": ["a", "b"], "label": ["", ""]}),
        rejects=(),
        settings={},
    )
    columns, rows = say.channel_table(set_of_two)
    assert columns[:4] == ("layer", "channel", "zeros", "active in")
    assert rows == [
        ("conv", "0", "100 %", "0 of 2", "dead"),
        ("conv", "3", "75.0 %", "1 of 2", ""),
        ("conv", "1", "50.0 %", "2 of 2", "always on"),
        ("conv", "2", "0 %", "2 of 2", "never zero"),
    ]


@pytest.mark.parametrize(("height", "width"), [(7, 7), (14, 9), (112, 112), (15, 29)])
def test_cells_hold_all_positions_once(height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    x = (rng.random((2, height, width, 3)) < 0.5).astype(np.float32)
    accumulator = Accumulator(Layer(name="conv", shape=(height, width, 3)))
    accumulator.add(encode(x.reshape(2, -1)))
    cells = say._cells(accumulator.result())
    assert cells.shape == (min(height, 14), min(width, 14))
    if cells.shape == (height, width):
        np.testing.assert_array_equal(cells, (x == 0).mean(axis=(0, 3)))
    if height == width == 112:
        expected = (x == 0).reshape(2, 14, 8, 14, 8, 3).mean(axis=(0, 2, 4, 5))
        np.testing.assert_allclose(cells, expected)
    assert len(say.position_grid(accumulator.result())) == cells.shape[0]


def test_differences_in_points() -> None:
    difference = compare_shares(
        np.array([0.6, 0.61]), np.array([0.5, 0.51]), layer="fc1", name="b", baseline="a"
    )
    alone = compare_shares(np.array([0.6]), np.array([0.5]), layer="fc1", name="b", baseline="a")
    assert difference is not None
    assert alone is not None
    _, rows = say.difference_table([difference, alone])
    assert rows[0][:6] == ("fc1", "b", "a", "60.5 %", "50.5 %", "+10.00")
    assert rows[0][7] == "more zeros"
    assert rows[1][6:] == ("-", "too few pictures")
