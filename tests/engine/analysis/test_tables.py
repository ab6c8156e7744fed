from pathlib import Path

import pytest

import sparsefeat
from sparsefeat import LayerError
from sparsefeat.analysis import compare_scalings
from sparsefeat.analysis.tables import By, difference_frame, long_table, scaling_frame


@pytest.fixture(scope="module")
def found(store: sparsefeat.Store) -> sparsefeat.Sparsity:
    return sparsefeat.analyse(store, flatness=True)


def test_one_line_for_each(found: sparsefeat.Sparsity) -> None:
    layers = found.counts.values()
    expected: dict[By, int] = {
        "layer": len(layers),
        "picture": 4 * len(layers),
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
            assert means[name] == pytest.approx(zeros.share), "equal weights: the same mean"


def test_positions_are_where_they_were(found: sparsefeat.Sparsity) -> None:
    table = long_table(found, "position").set_index(["layer", "row", "column"])["zeros"]
    for name in found.counts:
        assert table[name, 3, 1] == found.positions(name).loc[3, 1]


def test_layers_carry_their_correlations(found: sparsefeat.Sparsity) -> None:
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


def test_no_layer_has_positions(small_vgg16_top: Path, photos: Path) -> None:
    extractor = sparsefeat.Extractor(small_vgg16_top, "fc1")
    units = sparsefeat.analyse([photos / "things" / "coffee.png"], extractor=extractor)
    with pytest.raises(LayerError, match="no layer has positions"):
        long_table(units, "position")


def test_differences_and_scalings(
    found: sparsefeat.Sparsity, extractor: sparsefeat.Extractor, photos: Path
) -> None:
    differences = found.compare_labels()
    frame = difference_frame(differences)
    assert frame["verdict"].tolist() == [each.verdict for each in differences]
    scalings = compare_scalings(extractor, [photos / "things" / "coffee.png"])
    lines = scaling_frame(scalings)
    assert len(lines) == len(scalings) * len(found.counts)
    assert lines["relative_error"].iloc[0] == 0
