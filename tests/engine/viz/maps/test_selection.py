from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import InputError
from sparsefeat.viz.maps.selection import parse_channels

SCORES = np.array([1.0, 5.0, 3.0, 5.0, 0.0])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("3", [3]),
        ("3,1,4", [3, 1, 4]),
        ("1-3", [1, 2, 3]),
        (" 4 , 0-1 ", [4, 0, 1]),
        ("2,2,1-2", [2, 1]),
        (2, [2]),
        (np.int64(2), [2]),
        ([4, 0], [4, 0]),
        (np.array([4, 0]), [4, 0]),
        (range(2), [0, 1]),
    ],
)
def test_numbers(written: str, meant: list[int]) -> None:
    picked = parse_channels(written).pick(5, None)
    assert picked.dtype == np.int64
    assert picked.tolist() == meant


def test_the_best_come_first_and_of_equal_ones_the_lower() -> None:
    assert parse_channels("top:3").pick(5, SCORES).tolist() == [1, 3, 2]
    assert parse_channels("all").pick(5, SCORES).tolist() == [1, 3, 2, 0, 4]
    assert parse_channels("4,2").pick(5, SCORES).tolist() == [2, 4]


@pytest.mark.parametrize("written", ["", "x", "1,", "-1", "5-3", "top:", "top:x", "1.5", "1-2-3"])
def test_what_is_none(written: str) -> None:
    with pytest.raises(InputError, match="channels"):
        parse_channels(written)


@pytest.mark.parametrize("given", [None, b"12", {1: 2}, 1.5, [1.5], [[1]], np.zeros((2, 2))])
def test_what_is_no_channels(given: Any) -> None:
    with pytest.raises(InputError, match="channels"):
        parse_channels(given)


def test_numbers_in_any_container() -> None:
    for given in ([3, 1], (3, 1), np.array([3, 1]), (n for n in (3, 1)), np.int64(3), 3):
        assert parse_channels(given).pick(5, None).tolist() in ([3, 1], [3])  # type: ignore[arg-type]


@pytest.mark.parametrize(("written", "says"), [("5", "0 to 4"), ("top:6", "top:5"), ("top:0", "1")])
def test_channels_that_are_not_there(written: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_channels(written).pick(5, SCORES)
