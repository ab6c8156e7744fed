"""One chunk: its elements, and its bytes on disk.

What is written is what zarr reads with the codecs in the metadata. Nothing is copied on the way to
the compressor, and none of it waits for an event loop.
"""

from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import numpy.typing as npt

from sparsefeat.store.bounds import most_text_bytes
from sparsefeat.store.codecs import Chain
from sparsefeat.store.compression import compress
from sparsefeat_kernels import sum_differences

CHECKSUM_BYTES = 4
LEAST_BYTES = 16 + CHECKSUM_BYTES  # of a chunk of numbers: Blosc's header
OVERHEAD_BYTES = 1024  # by which a chunk may grow instead of shrinking

_BLOSC_HEADER = np.dtype(
    [("head", "u1", 4), ("n_bytes", "<u4"), ("block", "<u4"), ("stored", "<u4")]
)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD = numcodecs.Zstd(level=1)
_UTF8 = numcodecs.VLenUTF8()


class ChunkEncoder:
    """Encodes chunks of numbers; safe to use from several threads.

    Parameters
    ----------
    chain
        How.
    """

    def __init__(self, chain: Chain) -> None:
        self._differences = chain.differences

    def encode(self, chunk: npt.NDArray[Any]) -> bytes:
        """Encode a contiguous chunk of one axis, checksum behind."""
        return sealed(self.compress(chunk))

    def compress(self, chunk: npt.NDArray[Any]) -> bytes:
        """Give what `encode` does, without the checksum."""
        return compress(chunk, differences=self._differences)


def decode_into(stored: bytes, chain: Chain, out: npt.NDArray[Any]) -> None:
    """Decode a chunk of numbers into contiguous memory of just its elements.

    Raises
    ------
    ValueError
        The checksum is wrong, or it isn't a chunk of so many elements.
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
    compressed = unsealed(stored)
    n_bytes, most = _zstd_bytes(compressed), most_text_bytes(count)
    if n_bytes > most:
        raise ValueError(f"{n_bytes} bytes of text, expected at most {most}")
    encoded = np.empty(n_bytes, np.uint8)
    _ZSTD.decode(compressed, encoded)  # further frames, which have said nothing, find no room
    n_texts = int.from_bytes(encoded[:4].tobytes(), "little")
    if n_texts != count or n_bytes < 4 * (count + 1):
        raise ValueError(f"{n_texts} texts in {n_bytes} bytes, expected {count}")
    texts: npt.NDArray[Any] = _UTF8.decode(encoded)
    return texts


def sealed(content: bytes) -> bytes:
    """Append the CRC-32C."""
    return content + int(google_crc32c.value(content)).to_bytes(CHECKSUM_BYTES, "little")


def unsealed(stored: bytes) -> bytes:
    """Check the CRC-32C, and take it away.

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
    """See that a Blosc frame is whole and of the expected size, before it is decompressed."""
    if len(compressed) < _BLOSC_HEADER.itemsize:
        raise ValueError(f"a Blosc frame of {len(compressed)} bytes")
    header = np.frombuffer(compressed, _BLOSC_HEADER, 1)[0]
    if (int(header["n_bytes"]), int(header["stored"])) != (n_bytes, len(compressed)):
        raise ValueError(
            f"a Blosc frame of {header['n_bytes']} bytes in {header['stored']}, expected "
            f"{n_bytes} in {len(compressed)}"
        )
