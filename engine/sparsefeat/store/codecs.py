"""How the bytes of a chunk are made, for zarr."""

from typing import Any

import numpy as np
import zarr.codecs.numcodecs
from zarr.abc.codec import BytesBytesCodec, Codec
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

BLOCK = 1 << 20  # bytes: a whole chunk of float32


class Delta(zarr.codecs.numcodecs.Delta, codec_name="delta"):
    """zarr's own Delta, without the warning that each instance gives.

    The warning says that the codec is not in the Zarr v3 specification. It is meant for
    who chooses the codec, not for our users; and a warning filter would be neither thread-safe
    nor safe from the filters of others.
    """

    def __init__(self, **codec_config: Any) -> None:
        object.__setattr__(self, "codec_config", {"id": "delta", **codec_config})


def delta() -> Delta:
    """Store int32 differences: the gaps between column numbers are small and compress."""
    return Delta(dtype="<i4")


def numbers(dtype: np.dtype[Any]) -> list[BytesBytesCodec]:
    """Compress and check numbers: zstd behind a byte shuffle, then CRC-32C."""
    return [
        BloscCodec(
            cname="zstd", clevel=1, shuffle="shuffle", typesize=dtype.itemsize, blocksize=BLOCK
        ),
        Crc32cCodec(),
    ]


def text() -> list[BytesBytesCodec]:
    """Compress and check text."""
    return [ZstdCodec(level=1), Crc32cCodec()]


def quiet(codecs: list[Any]) -> list[Any]:
    """Replace the entry of each Delta in an array's metadata by an instance of ours."""
    return [_quiet(entry) for entry in codecs]


def _quiet(entry: Any) -> Any:
    configuration = entry.get("configuration", {})
    match entry["name"]:
        case "numcodecs.delta":
            return Delta(**configuration)
        case "sharding_indexed":
            inner = {**configuration, "codecs": quiet(configuration["codecs"])}
            return zarr.codecs.ShardingCodec(**inner)
        case _:
            return entry


__all__ = ["Codec", "Delta", "delta", "numbers", "quiet", "text"]
