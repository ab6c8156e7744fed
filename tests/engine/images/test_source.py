import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sparsefeat.errors import InputError
from sparsefeat.images.source import decode_path, encode_path

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT)
@example("%25")
@example("%\udcff\n")
@example("\ud83d\ude00")
@example("e\u0301 \u00e9")
def test_decode_is_the_inverse_of_encode(name: str) -> None:
    stored = encode_path(name)
    stored.encode("utf-8")
    assert decode_path(stored) == name


@given(st.binary())
@example(b"caf\xe9 100%/\xff\n\xf0\x9f\x98\x80")
def test_every_byte_of_a_file_name_comes_back(raw: bytes) -> None:
    assert os.fsencode(decode_path(encode_path(os.fsdecode(raw)))) == raw


@given(st.text(st.characters(exclude_characters="%", codec="utf-8")))
def test_valid_text_without_percent_is_untouched(name: str) -> None:
    assert encode_path(name) == name


@pytest.mark.parametrize("text", ["50%", "%2", "%41", "%7F", "%u12", "%e9", "%25%"])
def test_what_encode_never_writes_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="encode_path"):
        decode_path(text)
