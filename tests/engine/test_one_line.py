"""Text from elsewhere never breaks a message."""

import pytest

from sparsefeat.one_line import one_line


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
def test_what_does_not_print_is_escaped(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_what_is_long_loses_its_middle() -> None:
    assert one_line("a" * 10, most=10) == "a" * 10
    assert one_line("abcdefghijk", most=4) == "ab ... jk"
    assert len(one_line("x" * 10**7)) < 400
    assert len(one_line("\0" * 10**7)) < 1300
