from typing import Any

import pytest

from sparsefeat.errors import LayerError
from sparsefeat.store.dataset.view import choose_stored_layers

NAMES = ["block1_conv1/pre", "block1_conv1", "block4_pool", "block5_pool", "fc1/pre", "fc1"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, NAMES),
        ("all", ["block1_conv1", "block4_pool", "block5_pool", "fc1"]),
        ("pools", ["block4_pool", "block5_pool"]),
        ("convs", ["block1_conv1"]),
        ("stages", ["block4_pool", "block5_pool", "fc1"]),
        ("*/pre", ["block1_conv1/pre", "fc1/pre"]),
        ("block5_pool, block4_pool", ["block4_pool", "block5_pool"]),
        (["fc1/pre", "block[15]_*"], ["block1_conv1", "block5_pool", "fc1/pre"]),
    ],
)
def test_names_groups_and_patterns_choose_layers(
    wanted: str | list[str] | None, expected: list[str]
) -> None:
    assert choose_stored_layers(wanted, NAMES) == tuple(expected)


@pytest.mark.parametrize(
    "wanted", ["block6_pool", "block5_pol", "", "block5_pool,x*", [], 3, b"fc1", [None]]
)
def test_missing_layers_are_refused(wanted: Any) -> None:
    with pytest.raises(LayerError, match="expected"):
        choose_stored_layers(wanted, NAMES)


def test_stages_include_the_hidden_layers_of_another_top() -> None:
    names = ["block5_conv3", "block5_pool", "flatten", "hidden/pre", "hidden", "predictions"]
    assert choose_stored_layers("stages", names) == ("block5_pool", "hidden")
