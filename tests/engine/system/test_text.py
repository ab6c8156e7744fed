"""Numbers and untrusted text in one-line messages."""

import pytest

from sparsefeat.system.text import counted, format_bytes, one_line, percent, ranges


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
def test_bytes_are_written_with_units(count: int, expected: str) -> None:
    assert format_bytes(count) == expected


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
def test_only_exactly_0_and_1_are_printed_as_0_and_100_percent(
    share: float | None, expected: str
) -> None:
    assert percent(share) == expected


def test_lists_of_numbers_are_shortened_to_ranges() -> None:
    assert ranges([], most=3) == ""
    assert ranges([4], most=3) == "4"
    assert ranges([0, 1, 2, 4, 6, 7], most=3) == "0-2, 4, 6-7"
    assert ranges([0, 1, 2, 4, 6, 7], most=1) == "0-2 and 3 more"
    assert counted(0, "row") == "0 rows"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("größer, 写真", "größer, 写真"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_long_text_is_shortened_in_the_middle() -> None:
    assert one_line("a" * 10, most=10) == "a" * 10
    assert one_line("abcdefghijk", most=4) == "ab ... jk"
    assert len(one_line("x" * 10**7)) < 400
    assert len(one_line("\0" * 10**7)) < 1300
