from pathlib import Path

import pytest

from sparsefeat.errors import InputError
from sparsefeat.text_file import write_text_file


def test_it_is_utf_8_and_its_size_is_told(tmp_path: Path) -> None:
    file = tmp_path / "ä.txt"
    assert write_text_file(file, "é\n") == 3
    assert file.read_bytes() == b"\xc3\xa9\n"


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "missing" / "a.txt"):
        with pytest.raises(InputError, match="expected a file in a folder") as caught:
            write_text_file(file, "")
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
