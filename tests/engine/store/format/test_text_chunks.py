"""Text in a chunk, and what claims to be some."""

import struct
from typing import Any

import numcodecs
import numpy as np
import pytest

from sparsefeat.store.format.chunks import decode_text, encode_text, most_text_bytes, sealed
from sparsefeat.store.format.documents import TEXT_BYTES, TEXTS_BYTES


def texts(*values: str) -> Any:
    return np.array(values, object)


@pytest.mark.parametrize("length", [0, 1, 100, 251, 252, 253, 60_000, 65_790, 70_000])
def test_every_size_that_a_frame_can_say(length: int) -> None:
    """Zstandard writes it in 1, 2 or 4 bytes."""
    written = texts("x" * length, "é")
    assert decode_text(encode_text(written), 2).tolist() == written.tolist()


@pytest.mark.parametrize("size", [1 << 20, (1 << 32) + 5])
def test_a_size_in_eight_bytes(size: int) -> None:
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"
    with pytest.raises((ValueError, RuntimeError)):
        decode_text(sealed(frame), 1)


def test_as_much_as_may_be() -> None:
    assert most_text_bytes(0) == TEXTS_BYTES
    assert most_text_bytes(1000) == TEXTS_BYTES + 1000 * TEXT_BYTES
    long = "x" * (TEXTS_BYTES - 8)
    assert decode_text(encode_text(texts(long)), 1)[0] == long
    with pytest.raises(ValueError, match="bytes of text, expected at most"):
        decode_text(encode_text(texts("x" * (TEXTS_BYTES + TEXT_BYTES))), 1)


@pytest.mark.parametrize("count", [0, 1, 3, 1 << 30])
def test_another_number_of_texts(count: int) -> None:
    with pytest.raises(ValueError, match="2 texts in"):
        decode_text(encode_text(texts("a", "b")), count)


@pytest.mark.parametrize(
    "frame", [b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x00\x88\0\0", b"x" * 9]
)
def test_what_is_no_frame_of_a_known_size(frame: bytes) -> None:
    with pytest.raises(ValueError, match="Zstandard frame"):
        decode_text(sealed(frame), 1)


def test_a_second_frame_finds_no_room() -> None:
    frame = bytes(numcodecs.Zstd(1).encode(numcodecs.VLenUTF8().encode(texts("a"))))
    with pytest.raises((ValueError, RuntimeError)):
        decode_text(sealed(frame + frame), 1)
