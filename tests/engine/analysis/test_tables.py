from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsefeat
from sparsefeat import LayerError
from sparsefeat.analysis import (
    Accumulator,
    By,
    channel_table,
    compare_scalings,
    compare_shares,
    correlation_table,
    difference_frame,
    difference_table,
    heading,
    image_table,
    label_table,
    layer_table,
    long_table,
    position_grid,
    scaling_frame,
)
from sparsefeat.system.text import percent
from sparsefeat.types import Layer
from sparsefeat_kernels import encode


@pytest.fixture(scope="module")
def found(store: sparsefeat.Store) -> sparsefeat.Sparsity:
    return sparsefeat.analyse(store, flatness=True)


def test_long_tables_have_one_line_for_each_item(found: sparsefeat.Sparsity) -> None:
    layers = found.counts.values()
    expected: dict[By, int] = {
        "layer": len(layers),
        "image": 4 * len(layers),
        "channel": sum(zeros.layer.n_channels for zeros in layers),
        "position": sum(zeros.n_positions for zeros in layers),
        "label": 2 * len(layers),
    }
    for by, n_lines in expected.items():
        table = long_table(found, by)
        assert len(table) == n_lines
        assert {"layer", "zeros"} <= set(table)
        means = table.groupby("layer")["zeros"].mean()
        for name, zeros in found.counts.items():
            assert means[name] == pytest.approx(zeros.sparsity), "equal weights: the same mean"


def test_positions_have_their_rows_and_columns(found: sparsefeat.Sparsity) -> None:
    table = long_table(found, "position").set_index(["layer", "row", "column"])["zeros"]
    for name in found.counts:
        assert table[name, 3, 1] == found.positions(name).loc[3, 1]


def test_lines_of_layers_have_their_correlations(found: sparsefeat.Sparsity) -> None:
    line = long_table(found, "layer").iloc[0]
    estimate = found.correlations()[line["layer"]]["flat_share"].spearman
    assert estimate is not None
    assert line["spearman_flat_share"] == estimate.value
    assert line["spearman_flat_share_low"] == estimate.low
    assert "pearson_log_variance_high" in line
    bare = sparsefeat.Sparsity(
        source="", counts=found.counts, obs=found.obs[["path", "label"]], rejects=(), settings={}
    )
    assert list(long_table(bare, "layer")) == ["layer", *bare.layers]


def test_a_table_by_position_needs_a_layer_with_positions(
    small_vgg16_top: Path, photos: Path
) -> None:
    extractor = sparsefeat.Extractor(small_vgg16_top, "fc1")
    units = sparsefeat.analyse([photos / "things" / "coffee.png"], extractor=extractor)
    with pytest.raises(LayerError, match="no layer has positions"):
        long_table(units, "position")


def test_frames_of_differences_and_scalings(
    found: sparsefeat.Sparsity, extractor: sparsefeat.Extractor, photos: Path
) -> None:
    differences = found.compare_labels()
    frame = difference_frame(differences)
    assert frame["verdict"].tolist() == [each.verdict for each in differences]
    scalings = compare_scalings(extractor, [photos / "things" / "coffee.png"])
    lines = scaling_frame(scalings)
    assert len(lines) == len(scalings) * len(found.counts)
    assert lines["relative_error"].iloc[0] == 0


def test_rows_of_tables_fit_their_headings(found: sparsefeat.Sparsity) -> None:
    tables = {
        "layers": (layer_table(found), 4),
        "correlations": (correlation_table(found), 3),
        "images": (image_table(found), 4),
        "channels": (
            channel_table(found),
            sum(z.layer.n_channels for z in found.counts.values()),
        ),
        "labels": (label_table(found), 8),
        "differences": (difference_table(found.compare_labels()), 4),
    }
    for name, ((columns, rows), n_rows) in tables.items():
        assert len(rows) == n_rows, name
        assert {len(row) for row in rows} == {len(columns)}, name


def test_the_heading_counts_images_and_rejects(
    found: sparsefeat.Sparsity, extractor: sparsefeat.Extractor, photos: object
) -> None:
    assert heading(found).endswith("features: 4 images, 1 rejected")
    one = sparsefeat.analyse(f"{photos}/things/coffee.png", extractor=extractor)
    flat = percent(one.obs["flat_share"].iloc[0])
    assert heading(one).endswith(f": 1 image, 0 rejected; {flat} of its 8x8 blocks are flat")
    columns, _ = layer_table(one)
    assert "std" not in columns


def test_channels_are_sorted_by_zeros_and_described() -> None:
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
    columns, rows = channel_table(set_of_two)
    assert columns[:4] == ("layer", "channel", "zeros", "active in")
    assert rows == [
        ("conv", "0", "100 %", "0 of 2", "dead"),
        ("conv", "3", "75.0 %", "1 of 2", ""),
        ("conv", "1", "50.0 %", "2 of 2", "always on"),
        ("conv", "2", "0 %", "2 of 2", "never zero"),
    ]


@pytest.mark.parametrize(("height", "width"), [(7, 7), (14, 9), (112, 112), (15, 29)])
def test_cells_cover_each_position_once(height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    x = (rng.random((2, height, width, 3)) < 0.5).astype(np.float32)
    accumulator = Accumulator(Layer(name="conv", shape=(height, width, 3)))
    accumulator.add(encode(x.reshape(2, -1)))
    grid = position_grid(accumulator.result())
    assert (len(grid), len(grid[0])) == (min(height, 14), min(width, 14))
    rows, columns = (np.linspace(0, n, min(n, 14) + 1).astype(int) for n in (height, width))
    assert grid == [
        tuple(f"{100 * (x[:, y:below, z:right] == 0).mean():.0f}" for z, right in pairwise(columns))
        for y, below in pairwise(rows)
    ]


def test_differences_are_in_percentage_points() -> None:
    difference = compare_shares(
        np.array([0.6, 0.61]), np.array([0.5, 0.51]), layer="fc1", name="b", baseline="a"
    )
    alone = compare_shares(np.array([0.6]), np.array([0.5]), layer="fc1", name="b", baseline="a")
    assert difference is not None
    assert alone is not None
    _, rows = difference_table([difference, alone])
    assert rows[0][:6] == ("fc1", "b", "a", "60.5 %", "50.5 %", "+10.00")
    assert rows[0][7] == "more zeros"
    assert rows[1][6:] == ("-", "too few images")
