import pytest

from sparsefeat.errors import LayerError
from sparsefeat.sparsity import choose_stored, missing_of_walk

HELD = ["block4_conv3/pre", "block4_conv3", "block4_pool", "block5_pool", "fc1"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, HELD),
        ("all", HELD),
        ("walk", ["block4_pool", "block5_pool", "fc1"]),
        ("pools", ["block4_pool", "block5_pool"]),
        ("convs", ["block4_conv3"]),
        ("block4_*", ["block4_conv3", "block4_pool"]),
        ("*/pre", ["block4_conv3/pre"]),
        ("fc1, block4_pool", ["block4_pool", "fc1"]),
        (["block4_conv3/pre"], ["block4_conv3/pre"]),
    ],
)
def test_names_groups_and_patterns(wanted: str | list[str] | None, expected: list[str]) -> None:
    assert choose_stored(wanted, HELD) == expected


@pytest.mark.parametrize(
    ("wanted", "says"),
    [("fc2", "no layer 'fc2'"), ("block4_pol", "block4_pool"), ("", "no layer was named")],
)
def test_what_is_not_there(wanted: str, says: str) -> None:
    with pytest.raises(LayerError, match=says):
        choose_stored(wanted, HELD)


def test_what_the_walk_lacks() -> None:
    assert missing_of_walk(HELD) == ["block1_pool", "block2_pool", "block3_pool", "fc2"]
