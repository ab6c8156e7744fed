"""One chunk: its elements, and its bytes on disk.

What is written is what zarr reads with the codecs in the metadata. Nothing is copied on the way to
the compressor, and none of it waits for an event loop.
"""

from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import numpy.typing as npt

from sparsefeat.store.codecs import Chain
from sparsefeat.store.compression import compress
from sparsefeat_kernels import sum_differences

CHECKSUM_BYTES = 4

_BLOSC_HEADER = np.dtype(
    [("head", "u1", 4), ("n_bytes", "<u4"), ("block", "<u4"), ("stored", "<u4")]
)
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
    texts: npt.NDArray[Any] = _UTF8.decode(_ZSTD.decode(unsealed(stored)))
    if texts.shape != (count,):
        raise ValueError(f"{len(texts)} texts, expected {count}")
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
