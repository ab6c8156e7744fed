from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import LayerError
from sparsefeat.model import ModelLayer, choose_layers, find_layer

CONVS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}


def vgg16() -> list[ModelLayer]:
    layers = []
    for block, convs in CONVS.items():
        names = [(f"block{block}_conv{n + 1}", "conv") for n in range(convs)]
        for name, kind in [*names, (f"block{block}_pool", "pool")]:
            layers.append(
                ModelLayer(
                    name=name, kind=kind, shape=(None, None, 64), rectified=kind == "conv", stride=1
                )
            )
    for name, kind in [("flatten", "flatten"), ("fc1", "dense"), ("predictions", "dense")]:
        layers.append(ModelLayer(name=name, kind=kind, shape=(64,), rectified=name == "fc1"))
    return layers


LAYERS = vgg16()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("block5_pool", ["block5_pool"]),
        ("fc1, block1_pool,fc1", ["block1_pool", "fc1"]),
        (["fc1/pre", "fc1"], ["fc1/pre", "fc1"]),
        ("pools", [f"block{n}_pool" for n in range(1, 6)]),
        ("stages", [*(f"block{n}_pool" for n in range(1, 6)), "fc1"]),
        ("all", [layer.name for layer in LAYERS]),
        ("block[45]_pool", ["block4_pool", "block5_pool"]),
        ("block1_*", ["block1_conv1", "block1_conv2", "block1_pool"]),
        ("block1_*/pre", ["block1_conv1/pre", "block1_conv2/pre"]),
    ],
)
def test_names_groups_and_patterns_in_network_order(wanted: str, expected: list[str]) -> None:
    assert list(choose_layers(wanted, LAYERS)) == expected


def test_convs_are_the_thirteen_convolutions() -> None:
    assert len(choose_layers("convs", LAYERS)) == 13
    assert len(choose_layers("*/pre", LAYERS)) == 14


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("block5_pol", "did you mean block5_pool"),
        ("BLOCK5_POOL", "did you mean block5_pool"),
        ("fc2/pre", "no layer 'fc2/pre': after the last pool it has flatten, fc1, predictions"),
        ("pool", "pools"),
        ("block5_pool/pre", "block5_pool is not rectified"),
        ("fc9*", "no layer matches 'fc9*'"),
        ("zzzz", "it has: block1_conv1/pre"),
        ("foo", "no layer 'foo'; it has: block1_conv1/pre"),
        ("", "no layer was named"),
        (" , ", "no layer was named"),
    ],
)
def test_a_missing_layer_is_an_error_with_the_nearest_names(wanted: str, says: str) -> None:
    with pytest.raises(LayerError) as caught:
        choose_layers(wanted, LAYERS)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wanted", [None, 3, b"fc1", [None], [b"fc1"], Path("fc1"), np.zeros(2)])
def test_wrong_types_are_refused(wanted: Any) -> None:
    with pytest.raises(LayerError, match=r"as a layer, expected names") as caught:
        choose_layers(wanted, LAYERS)
    assert "\n" not in str(caught.value)


def test_names_may_come_in_any_container() -> None:
    names = ["fc1", "block5_pool"]
    for several in (tuple(names), np.array(names), dict.fromkeys(names), (n for n in names)):
        assert choose_layers(several, LAYERS) == ("block5_pool", "fc1")


def test_find_layer_finds_the_layer_of_a_pre_activation() -> None:
    assert find_layer("block5_conv3/pre", LAYERS).name == "block5_conv3"
    assert find_layer("flatten", LAYERS).name == "flatten"
