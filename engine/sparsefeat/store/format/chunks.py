"""Chunks: numbers and text to bytes and back, alone or several in a shard.

zarr can read the chunks with the codecs in the metadata. Data are not copied on the way to the
compressor, and there is no event loop.

Numbers become Blosc frames in which each byte plane is compressed in the way that suits it. A frame
describes its own layout, so any Blosc can read it. Blosc's own encoder runs zstd over all planes
together, and the fast levels of zstd use every short match. Among the exponents of activations, or
the gaps between their columns, short matches are accidental: they cost more bytes than they save,
and take most of the time.
"""

import struct
import threading
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self, TypeAlias

import google_crc32c
import numcodecs
import numpy as np
import numpy.typing as npt

from sparsefeat.storage import StoredFile
from sparsefeat.store.format.arrays import BLOCK, Chain
from sparsefeat.store.format.documents import TEXT_BYTES, TEXTS_BYTES
from sparsefeat_kernels import byte_planes, literals_frame, sampled_literal_bits, sum_differences

Bytes: TypeAlias = bytes | memoryview

CHECKSUM_BYTES = 4
MIN_BYTES = 16 + CHECKSUM_BYTES  # of a chunk of numbers: Blosc's header
OVERHEAD_BYTES = 1024  # by which a chunk may grow instead of shrinking


_MIN_BYTES: Final = 1024  # elements that repay the four tables
_MOST: Final = BLOCK  # bytes in one block
_SIZES: Final = (1, 2, 4)  # bytes of an element

# Of a Blosc 1 frame: its version, that of the zstd inside, and what was done.
_VERSIONS: Final = (2, 1)
_SHUFFLED, _ZSTD_FORMAT = 1, 4 << 5
_HEADER: Final = struct.Struct("<BBBBIIIi")

_BLOSC_HEADER = np.dtype(
    [("head", "u1", 4), ("n_bytes", "<u4"), ("block", "<u4"), ("stored", "<u4")]
)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_UTF8 = numcodecs.VLenUTF8()


# The entry of a shard's index for a chunk that doesn't exist, because it lies beyond the array.
_ABSENT = 2**64 - 1
ENTRY_BYTES = 16  # offset, length


_NOISE: Final = 7.9  # bits per byte from which on a code isn't worth its time
_ONE: Final = 1.02  # bits per byte up to which nearly all bytes are equal: a code takes at least 1
_RUNS: Final = 0.06  # share of its size to which a plane shrinks if it consists of runs
_GAIN: Final = 0.995  # share of a plane's size from which on compression isn't worth the time
_PIECES: Final = 16  # samples of a plane, by which it is judged
_PIECE: Final = 1024  # bytes of a sample
_HOPE: Final = 1.03  # matches save more in the whole plane than in samples

_ZSTD: Final = numcodecs.Zstd(level=1)
_BLOSC: Final = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE, blocksize=BLOCK)


_scratch = threading.local()


class Way(Enum):
    """What makes a byte plane small."""

    NOISE = "nothing"
    ONE = "that nearly all bytes are the same"
    FREQUENCY = "that some bytes are more frequent than others"
    MATCHES = "that sequences of bytes come again"


def scratch(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Give memory of this thread, valid until its next call."""
    n_bytes = count * np.dtype(dtype).itemsize
    memory: npt.NDArray[np.uint8] | None = getattr(_scratch, "memory", None)
    if memory is None or len(memory) < n_bytes:
        _scratch.memory = memory = np.empty(n_bytes, np.uint8)
    return memory[:n_bytes].view(dtype)


def compress(numbers: npt.NDArray[Any], *, differences: bool) -> bytes:
    """Compress numbers, or the differences of each from the one before; safe in several threads.

    Parameters
    ----------
    numbers
        (n,), contiguous.
    differences
        For int32 alone.
    """
    if (
        numbers.itemsize not in _SIZES
        or not _MIN_BYTES <= len(numbers) <= _MOST // numbers.itemsize
    ):
        return _together(numbers, differences)
    planes = scratch(numbers.nbytes, np.uint8).reshape(numbers.itemsize, len(numbers))
    byte_planes(numbers, differences=differences, out=planes)
    ways = [_way(plane) for plane in planes]
    if Way.NOISE in ways:
        # libzstd passes quickly over what doesn't repeat; numbers that do repeat in all planes.
        lowest = planes[ways.index(Way.NOISE)]
        if len(_ZSTD.encode(lowest)) < _GAIN * len(lowest):
            return _together(numbers, differences)
    elif Way.MATCHES in ways:
        together = _together(numbers, differences)
        if len(ways) - ways.count(Way.ONE) == 1:  # the samples were the whole plane
            return together
        frame = _frame(numbers, [_stream(plane, Way.FREQUENCY) for plane in planes])
        return min(frame, together, key=len)
    frame = _frame(numbers, [*map(_stream, planes, ways)])
    if numbers.itemsize < 4:
        # Codes of dense rows repeat in ways that samples don't show, up to 5 %; and they are small.
        frame = min(frame, _together(numbers, differences), key=len)
    return frame


def _together(numbers: npt.NDArray[Any], differences: bool) -> bytes:
    """Leave all planes to Blosc's own encoder."""
    if differences:
        numbers = np.diff(numbers, prepend=numbers.dtype.type(0))
    return bytes(_BLOSC.encode(numbers))


def _way(plane: npt.NDArray[np.uint8]) -> Way:
    """Choose, by samples, the way that makes a plane smallest."""
    bits = sampled_literal_bits(plane)
    if bits > _NOISE:
        return Way.NOISE
    if bits < _ONE:
        return Way.ONE
    pieces = plane[: len(plane) // _PIECES * _PIECES].reshape(_PIECES, -1)[:, :_PIECE].tobytes()
    by_matches = 8 * len(_ZSTD.encode(pieces)) / len(pieces)
    return Way.MATCHES if by_matches < _HOPE * bits else Way.FREQUENCY


def _stream(plane: npt.NDArray[np.uint8], way: Way) -> Bytes:
    if way is Way.NOISE:
        return plane.data
    stream = _ZSTD.encode(plane) if way is Way.MATCHES else literals_frame(plane)
    if way is Way.ONE and len(stream) > _RUNS * len(plane):
        stream = min(stream, _ZSTD.encode(plane), key=len)
    return stream if len(stream) < len(plane) else plane.data


def _frame(numbers: npt.NDArray[Any], streams: list[Bytes]) -> bytes:
    """Make a frame of one block, split into planes."""
    flags = _ZSTD_FORMAT | (_SHUFFLED if numbers.itemsize > 1 else 0)
    start, size = _HEADER.size, numbers.nbytes
    total = start + sum(4 + len(stream) for stream in streams)
    parts: list[Bytes] = [
        _HEADER.pack(*_VERSIONS, flags, numbers.itemsize, size, size, total, start)
    ]
    for stream in streams:
        parts += [len(stream).to_bytes(4, "little"), stream]
    return b"".join(parts)


class Utf8(NamedTuple):
    """Texts in UTF-8: where each one starts in `data`, int64 (n + 1,), and all of them."""

    offsets: npt.NDArray[np.int64]
    data: bytes

    @classmethod
    def repeated(cls, text: str, count: int) -> Self:
        """Give the same text `count` times."""
        data = text.encode()
        return cls(_equal_offsets(count, len(data)), data * count)

    @classmethod
    def of(cls, texts: npt.NDArray[Any]) -> Self:
        """Encode Python strings."""
        joined = "".join(texts)
        data = joined.encode()
        lengths = map(len, texts if len(data) == len(joined) else map(str.encode, texts))
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(np.fromiter(lengths, np.int64, len(texts)), out=offsets[1:])
        return cls(offsets, data)


def encode_chunk(chunk: npt.NDArray[Any], chain: Chain) -> bytes:
    """Encode a contiguous chunk of one axis, followed by its checksum; safe in several threads."""
    return sealed(compress(chunk, differences=chain.differences))


def decode_into(stored: bytes, chain: Chain, out: npt.NDArray[Any]) -> None:
    """Decode a chunk of numbers into contiguous memory of exactly its size.

    Raises
    ------
    ValueError
        The checksum is wrong, or the chunk has another number of elements.
    """
    compressed = unsealed(stored)
    # Not `scratch`: `out` may lie there.
    target = np.empty(len(out), np.float16) if chain.half else out
    _check_frame(compressed, target.nbytes)
    numcodecs.blosc.decompress(compressed, target)
    if chain.half:
        out[...] = target
    if chain.differences:
        sum_differences(out)


def encode_text(texts: npt.NDArray[Any]) -> bytes:
    """Encode a chunk of text, given as Python strings."""
    return sealed(_ZSTD.encode(_UTF8.encode(texts)))


def decode_text(stored: bytes, count: int) -> npt.NDArray[Any]:
    """Decode a chunk of text into `count` Python strings.

    Raises
    ------
    ValueError
        The checksum is wrong, or it isn't a chunk of so many texts.
    """
    texts: npt.NDArray[Any] = _UTF8.decode(_decoded_text(stored, count))
    return texts


def decode_utf8(stored: bytes, count: int) -> Utf8:
    """Decode a chunk of text, without Python strings if all texts are equally long.

    Raises
    ------
    ValueError
        The checksum is wrong, or the chunk has another number of texts, or not in UTF-8.
    """
    encoded = _decoded_text(stored, count)
    length, rest = divmod(len(encoded) - 4, max(1, count))
    if not rest and length > 4:
        lines = encoded[4:].reshape(count, length)
        lengths = lines[:, :4].copy().view("<u4")
        texts = lines[:, 4:]
        # In valid UTF-8 a text that starts at a character's start ends at a character's end.
        if (lengths == length - 4).all() and (texts[:, 0] & 0xC0 != 0x80).all():
            data = texts.tobytes()
            data.decode()  # raises where it isn't UTF-8
            return Utf8(_equal_offsets(count, length - 4), data)
    return Utf8.of(_UTF8.decode(encoded))


@lru_cache(maxsize=64)  # most parts of a store have the same number of rows
def _equal_offsets(count: int, length: int) -> npt.NDArray[np.int64]:
    offsets = np.arange(count + 1, dtype=np.int64) * length
    offsets.flags.writeable = False
    return offsets


def _decoded_text(stored: bytes, count: int) -> npt.NDArray[np.uint8]:
    """Decompress a chunk of text: the number of texts, then each one after its length."""
    compressed = unsealed(stored)
    n_bytes, most = _zstd_bytes(compressed), most_text_bytes(count)
    if n_bytes > most:
        raise ValueError(f"{n_bytes} bytes of text, expected at most {most}")
    encoded = np.empty(n_bytes, np.uint8)
    _ZSTD.decode(compressed, encoded)  # there is no room for further frames, of unknown size
    n_texts = int.from_bytes(encoded[:4].tobytes(), "little")
    if n_texts != count or n_bytes < 4 * (count + 1):
        raise ValueError(f"{n_texts} texts in {n_bytes} bytes, expected {count}")
    return encoded


def sealed(content: bytes) -> bytes:
    """Append the CRC-32C."""
    return content + int(google_crc32c.value(content)).to_bytes(CHECKSUM_BYTES, "little")


def unsealed(stored: bytes) -> bytes:
    """Check the CRC-32C, and remove it.

    Raises
    ------
    ValueError
        It is wrong.
    """
    content, checksum = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
    if int(google_crc32c.value(content)).to_bytes(CHECKSUM_BYTES, "little") != checksum:
        raise ValueError("wrong checksum")
    return content


def _zstd_bytes(compressed: bytes) -> int:
    """Read how long the content of a Zstandard frame is (RFC 8878, section 3.1.1.1)."""
    if len(compressed) < 5 or compressed[:4] != _ZSTD_MAGIC:
        raise ValueError("no Zstandard frame")
    descriptor = compressed[4]
    single_segment = descriptor >> 5 & 1
    start = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    length = (single_segment, 2, 4, 8)[descriptor >> 6]
    field = compressed[start : start + length]
    if not length or len(field) < length:
        raise ValueError("a Zstandard frame that doesn't say its size")
    return int.from_bytes(field, "little") + (256 if length == 2 else 0)


def _check_frame(compressed: bytes, n_bytes: int) -> None:
    """Check that a Blosc frame is complete and of the expected size, before decompressing it."""
    if len(compressed) < _BLOSC_HEADER.itemsize:
        raise ValueError(f"a Blosc frame of {len(compressed)} bytes")
    header = np.frombuffer(compressed, _BLOSC_HEADER, 1)[0]
    if (int(header["n_bytes"]), int(header["stored"])) != (n_bytes, len(compressed)):
        raise ValueError(
            f"a Blosc frame of {header['n_bytes']} bytes in {header['stored']}, expected "
            f"{n_bytes} in {len(compressed)}"
        )


def shard_index(lengths: list[int], n_chunks: int) -> bytes:
    """Give the index of a shard with room for `n_chunks`, and chunks of these lengths."""
    index = np.full((n_chunks, 2), _ABSENT, "<u8")
    index[: len(lengths), 1] = lengths
    index[: len(lengths), 0] = np.cumsum([0, *lengths[:-1]])
    return sealed(index.tobytes())


def read_index(file: StoredFile, n_chunks: int, most: int) -> list[tuple[int, int] | None]:
    """Read where a shard's chunks lie: offset and length of each, None for missing ones.

    Parameters
    ----------
    file
        The shard.
    n_chunks
        Number of chunks that it has room for.
    most
        Bytes that a chunk may have.

    Raises
    ------
    ValueError
        The index is damaged, points out of the file, or to the same bytes twice.
    OSError
        The file can't be read.
    """
    n_bytes = n_chunks * ENTRY_BYTES + CHECKSUM_BYTES
    end = file.size - n_bytes
    if end < 0:
        raise ValueError(f"a shard of {file.size} bytes, whose index alone has {n_bytes}")
    if end > n_chunks * most:
        raise ValueError(f"a shard of {file.size} bytes, expected {n_chunks} times {most}")
    return parse_index(file.read(end, n_bytes), n_chunks, most, end)


def parse_index(content: bytes, n_chunks: int, most: int, end: int) -> list[tuple[int, int] | None]:
    """Read a shard's index as `read_index` does, given its bytes, and where chunks must end."""
    index = np.frombuffer(unsealed(content), "<u8").reshape(-1, 2)
    if len(index) != n_chunks:
        raise ValueError(f"a shard's index of {len(index)} chunks, expected {n_chunks}")
    places: list[tuple[int, int] | None] = []
    for offset, length in index.tolist():
        absent = offset == length == _ABSENT
        if not absent and (offset + length > end or length > most):
            raise ValueError("a shard's index that points out of its file, or to too much of it")
        places.append(None if absent else (offset, length))
    taken = sorted(place for place in places if place is not None)
    if any(offset + length > after for (offset, length), (after, _) in pairwise(taken)):
        raise ValueError("a shard's index whose chunks overlap")
    return places


def most_text_bytes(count: int) -> int:
    """Give the largest decompressed size of a chunk of `count` texts."""
    return min(TEXTS_BYTES + count * TEXT_BYTES, (1 << 31) - 1)
