import errno
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sparsefeat.errors import InputError
from sparsefeat.images import PRESETS, QUIRKS, Reason, classify_os_error, decode_path, encode_path

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
def test_every_byte_of_a_file_name_survives(raw: bytes) -> None:
    assert os.fsencode(decode_path(encode_path(os.fsdecode(raw)))) == raw


@given(st.text(st.characters(exclude_characters="%", codec="utf-8")))
def test_valid_text_without_percent_signs_is_unchanged(name: str) -> None:
    assert encode_path(name) == name


@pytest.mark.parametrize("text", ["50%", "%2", "%41", "%7F", "%u12", "%e9", "%25%"])
def test_decode_refuses_text_that_encode_never_writes(text: str) -> None:
    with pytest.raises(InputError, match="encode_path"):
        decode_path(text)


GUIDE = Path(__file__).parents[3] / "docs" / "images.md"


@pytest.mark.parametrize("word", [*Reason, *PRESETS, *QUIRKS])
def test_the_guide_names_every_reason_preset_and_quirk(word: str) -> None:
    assert f"`{word}`" in GUIDE.read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", Reason)
def test_reasons_are_short_and_begin_in_lower_case(reason: Reason) -> None:
    assert reason.value[0].islower()
    assert len(reason.value) < 80


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EACCES, Reason.FORBIDDEN),
        (errno.EPERM, Reason.FORBIDDEN),
        (errno.ENOENT, Reason.MISSING),
        (errno.ENOTDIR, Reason.MISSING),
        (errno.EISDIR, Reason.FOLDER),
        (errno.ENXIO, Reason.SPECIAL),
        (errno.ENOMEM, Reason.NO_MEMORY),
        (errno.EIO, Reason.READ_FAILED),
        (errno.EMFILE, Reason.READ_FAILED),
        (errno.ESTALE, Reason.READ_FAILED),
        (errno.ETIMEDOUT, Reason.READ_FAILED),
    ],
)
def test_errors_of_the_system_become_reasons(code: int, expected: Reason) -> None:
    refusal = classify_os_error(OSError(code, os.strerror(code), "/secret/path"))
    assert refusal.reason is expected
    assert refusal.reason.of_system
    detail = f": {os.strerror(code)}" if expected is Reason.READ_FAILED else ""
    assert str(refusal) == f"{expected}{detail}"
