"""Blosc frames that sparsefeat makes, read by Blosc."""

import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sparsefeat.store.format.chunks import (
    compress,
    decode_text,
    decode_utf8,
    encode_text,
    most_text_bytes,
    sealed,
)
from sparsefeat.store.format.documents import TEXT_BYTES, TEXTS_BYTES

from ..part.test_size import CHUNK, feature_maps

BLOSC = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE, blocksize=1 << 20)


def numbers_of() -> dict[str, npt.NDArray[Any]]:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=100_000).astype(np.float32)
    tile = np.tile(normal[:700], 140)
    return {
        "normal": normal,
        "positive": np.abs(normal),
        "bfloat16": (normal.view(np.uint32) & 0xFFFF0000).view(np.float32),
        "zeros": np.zeros(70_000, np.float32),
        "mostly zeros": np.where(rng.random(70_000) < 0.9, 0, rng.random(70_000)).astype(
            np.float32
        ),
        "signs": np.where(rng.random(70_000) < 0.95, 1, -1).astype(np.float32),
        "tiles": tile,
        "half tiles": np.concatenate([normal, tile]),
        "special": np.tile(np.array([np.nan, np.inf, -0.0, 1e-42], np.float32), 5000),
        "few": normal[:10],
        "one short of enough": normal[:1023],
        "just enough": normal[:1024],
        "half precision": normal.astype(np.float16),
        "codes": np.minimum(rng.geometric(0.05, 100_000), 255).astype(np.uint8),
        "integers": rng.integers(0, 1 << 40, 20_000),
        "more than a chunk": rng.random(400_000).astype(np.float32),
    }


NUMBERS = numbers_of()


@pytest.mark.parametrize("name", NUMBERS)
def test_blosc_reads_every_frame(name: str) -> None:
    numbers: npt.NDArray[Any] = NUMBERS[name]
    frame = compress(numbers, differences=False)
    assert numcodecs.Blosc().decode(frame) == numbers.tobytes()
    # Little is lost even if the chunk is left to Blosc, or if Blosc's own frame is smaller.
    assert len(frame) <= 1.01 * len(BLOSC.encode(numbers)) + 64


@pytest.mark.parametrize("density", [0.9, 0.5, 0.1, 0.003])
@pytest.mark.parametrize("size", [500, 100_000])
def test_differences_of_columns_are_compressed(density: float, size: int) -> None:
    width = 50_000  # columns start again with each row
    gaps = np.random.default_rng(size).geometric(density, size)
    columns = (np.cumsum(gaps) % width).astype(np.int32)
    differences = np.diff(columns, prepend=np.int32(0))
    frame = compress(columns, differences=True)
    assert numcodecs.Blosc().decode(frame) == differences.tobytes()
    assert len(frame) <= 1.05 * len(BLOSC.encode(differences)) + 32


def test_a_frame_declares_its_sizes() -> None:
    """Readers check them before they decompress anything."""
    frame = compress(NUMBERS["normal"], differences=False)
    assert frame[:4] == bytes([2, 1, 0x81, 4])
    assert np.frombuffer(frame, "<u4", 3, offset=4).tolist() == [400_000, 400_000, len(frame)]


@pytest.mark.parametrize("name", ["block1", "block3", "block5"])
def test_frames_are_smaller_than_blosc_s_own(name: str) -> None:
    """Overlapping crops repeat each other, so the frames must use matches."""
    values = feature_maps()[name].reshape(-1)
    columns = np.flatnonzero(values).astype(np.int32)
    values = values[columns]
    ours = theirs = 0
    for start in range(0, len(values), CHUNK):
        chunk, columns_of_chunk = values[start : start + CHUNK], columns[start : start + CHUNK]
        ours += len(compress(chunk, differences=False)) + len(
            compress(columns_of_chunk, differences=True)
        )
        differences = np.diff(columns_of_chunk, prepend=np.int32(0))
        theirs += len(BLOSC.encode(chunk)) + len(BLOSC.encode(differences))
    assert ours <= theirs


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16])
@pytest.mark.parametrize("name", ["block1", "block3", "block5"])
def test_frames_of_small_numbers_are_not_larger_than_blosc_s_own(
    name: str, dtype: npt.DTypeLike
) -> None:
    maps = feature_maps()[name][:4]
    codes = np.sqrt(maps / maps.max()) * 255
    for start in range(0, codes.size - CHUNK, CHUNK):
        numbers = codes.reshape(-1)[start : start + CHUNK].astype(dtype)
        frame = compress(numbers, differences=False)
        assert numcodecs.Blosc().decode(frame) == numbers.tobytes()
        assert len(frame) <= len(BLOSC.encode(numbers))


def test_every_thread_makes_the_same_frame() -> None:
    chunks = [*NUMBERS.values()] * 4
    alone = [compress(chunk, differences=False) for chunk in chunks]
    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(lambda chunk: compress(chunk, differences=False), chunks)] == alone


def texts(*values: str) -> Any:
    return np.array(values, object)


@pytest.mark.parametrize("length", [0, 1, 100, 251, 252, 253, 60_000, 65_790, 70_000])
def test_texts_with_sizes_of_1_2_and_4_bytes_are_read(length: int) -> None:
    """Zstandard writes the size of a frame in 1, 2 or 4 bytes."""
    written = texts("x" * length, "é")
    assert decode_text(encode_text(written), 2).tolist() == written.tolist()


@given(
    st.lists(st.text(max_size=3), max_size=6) | st.lists(st.text("aé\0", min_size=1, max_size=2))
)
@example(["ab", "é", "\0a"])
@example(["a", "bcd", "ef"])
def test_texts_are_written_as_utf_8(written: list[str]) -> None:
    """Texts of equal and of different lengths in bytes."""
    encoded = [text.encode() for text in written]
    offsets, data = decode_utf8(encode_text(texts(*written)), len(written))
    assert data == b"".join(encoded)
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, *accumulate(map(len, encoded))]


@pytest.mark.parametrize(
    "pieces", [(b"\xff", b"\xff"), (b"\xc3", b"\xa9"), (b"a", b"\xc3\xa9\xa9")]
)
def test_invalid_utf_8_is_refused(pieces: tuple[bytes, bytes]) -> None:
    """The second pair of texts would be valid UTF-8 only if joined."""
    lines = b"".join(struct.pack("<I", len(piece)) + piece for piece in pieces)
    frame = bytes(numcodecs.Zstd(1).encode(struct.pack("<I", 2) + lines))
    for decode in (decode_utf8, decode_text):
        with pytest.raises(UnicodeDecodeError):
            decode(sealed(frame), 2)


@pytest.mark.parametrize("size", [1 << 20, (1 << 32) + 5])
def test_frames_with_sizes_of_eight_bytes_are_refused(size: int) -> None:
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"
    with pytest.raises((ValueError, RuntimeError)):
        decode_text(sealed(frame), 1)


def test_text_up_to_the_limit_is_read() -> None:
    assert most_text_bytes(0) == TEXTS_BYTES
    assert most_text_bytes(1000) == TEXTS_BYTES + 1000 * TEXT_BYTES
    long = "x" * (TEXTS_BYTES - 8)
    assert decode_text(encode_text(texts(long)), 1)[0] == long
    with pytest.raises(ValueError, match="bytes of text, expected at most"):
        decode_text(encode_text(texts("x" * (TEXTS_BYTES + TEXT_BYTES))), 1)


@pytest.mark.parametrize("count", [0, 1, 3, 1 << 30])
def test_another_number_of_texts_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="2 texts in"):
        decode_text(encode_text(texts("a", "b")), count)


@pytest.mark.parametrize(
    "frame", [b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x00\x88\0\0", b"x" * 9]
)
def test_frames_without_a_known_size_are_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="Zstandard frame"):
        decode_text(sealed(frame), 1)


def test_a_second_frame_is_refused() -> None:
    frame = bytes(numcodecs.Zstd(1).encode(numcodecs.VLenUTF8().encode(texts("a"))))
    with pytest.raises((ValueError, RuntimeError)):
        decode_text(sealed(frame + frame), 1)
