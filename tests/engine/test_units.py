import pytest

from sparsefeat.units import counted, human_bytes, percent, ranges


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (602112, "602 kB"),
        (13_040_000, "13 MB"),
        (999_600_000, "1 GB"),
        (3 * 10**12, "3 TB"),
    ],
)
def test_human_bytes(count: int, expected: str) -> None:
    assert human_bytes(count) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0, "0 %"),
        (1e-9, "< 0.1 %"),
        (0.0005, "0.1 %"),
        (0.5, "50.0 %"),
        (0.9994, "99.9 %"),
        (0.9996, "> 99.9 %"),
        (1, "100 %"),
        (1.5512, "155.1 %"),
    ],
)
def test_only_none_looks_like_none_and_only_all_like_all(
    share: float | None, expected: str
) -> None:
    assert percent(share) == expected


def test_lists_of_numbers() -> None:
    assert ranges([], most=3) == ""
    assert ranges([4], most=3) == "4"
    assert ranges([0, 1, 2, 4, 6, 7], most=3) == "0-2, 4, 6-7"
    assert ranges([0, 1, 2, 4, 6, 7], most=1) == "0-2 and 3 more"
    assert counted(0, "row") == "0 rows"
