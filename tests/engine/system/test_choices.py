"""Messages about unknown words."""

import re

import pytest
from click.testing import CliRunner

from sparsefeat.cli import main
from sparsefeat.errors import InputError
from sparsefeat.system.choices import check_choice


def test_only_similar_words_are_suggested() -> None:
    words = ("avg", "max", "pool")
    check_choice("max", words, "pool")
    for value, meant in (("avgg", "; did you mean avg?"), ("MAX", "; did you mean max?")):
        with pytest.raises(InputError, match=r"expected one of: avg, max, pool; ") as caught:
            check_choice(value, words, "pool")
        assert str(caught.value).endswith(meant)
    for other in ("foo", "", None, ["avg"], b"avg"):
        with pytest.raises(InputError, match=r"^unknown pool .*, expected one of: avg, max, pool$"):
            check_choice(other, words, "pool")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("extrct photos -o new", "unknown command 'extrct', .*; did you mean extract\\?"),
        ("EXTRACT photos -o new", "unknown command 'EXTRACT', .*; did you mean extract\\?"),
        ("foo", "unknown command 'foo', expected one of: [^;]*"),
        (". --foo", "unknown command '.', [^;]*"),
        ("extract . -o new --provider cdua", ".*--provider.*'cdua'.*; did you mean cuda\\?"),
        ("extract . -o new --provider foo", ".*--provider.*'foo', expected one of: [^;]*"),
        ("extract . -o new --values flot16", ".*'flot16', .*; did you mean float16\\?"),
        ("extract . -o new --values foo", ".*'foo', .* or uint8: choose one of them"),
        ("extract . -o new --preprocess bilinar", ".*; did you mean bilinear\\?"),
        ("export --scaling cafe", ".*--scaling.*; did you mean caffe\\?"),
    ],
)
def test_similar_words_are_suggested_for_commands_and_options(line: str, says: str) -> None:
    done = CliRunner().invoke(main, line.split())
    assert done.exit_code == 2
    said = done.stderr.splitlines()[-1]
    assert re.fullmatch(rf"Error: {says}( \(see main.* --help\))?", said), said
