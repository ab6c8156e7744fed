"""Numbers that JSON hasn't are refused, so that what was read can be written again."""

import pytest
from sparsefeat.store.json_file import parse_json


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_not_finite(number: str) -> None:
    with pytest.raises(ValueError, match=r"no JSON|no number"):
        parse_json(f'{{"deep": [{number}]}}')


def test_numbers_that_are() -> None:
    assert parse_json("[1e308, -0.5, 5e-324, 1e-999]") == [1e308, -0.5, 5e-324, 0]
