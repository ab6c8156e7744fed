"""How the bytes of a chunk are made: the codec chains that a store may hold, and no others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

BLOCK: Final = 1 << 20  # bytes that Blosc compresses together: a whole chunk of float32
DIFFERENCES: Final = "numcodecs.delta"
HALF: Final = "numcodecs.astype"
_HALF: Final = {"encode_dtype": "<f2", "decode_dtype": "<f4"}

_TEXT: Final[list[dict[str, Any]]] = [
    {"name": "vlen-utf8", "configuration": {}},
    {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
    {"name": "crc32c"},
]
_INDEX: Final = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """The codecs of one array's chunks, in the order in which they encode.

    Parameters
    ----------
    dtype
        Of the elements; None for text.
    differences
        Whether each element is stored as its difference from the one before (int32 only).
    half
        Whether elements, of float32, are stored as float16.
    """

    dtype: np.dtype[Any] | None
    differences: bool = False
    half: bool = False

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of the numbers in a chunk."""
        return np.dtype(np.float16 if self.half else self.dtype)

    def to_json(self) -> list[dict[str, Any]]:
        """Give the chain as Zarr's metadata have it."""
        if self.dtype is None:
            return _TEXT
        blosc = {
            "typesize": self.stored.itemsize,
            "cname": "zstd",
            "clevel": 1,
            "shuffle": "shuffle",
            "blocksize": BLOCK,
        }
        delta = {"name": DIFFERENCES, "configuration": {"dtype": self.dtype.str}}
        return [
            *([delta] if self.differences else []),
            *([{"name": HALF, "configuration": _HALF}] if self.half else []),
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "blosc", "configuration": blosc},
            {"name": "crc32c"},
        ]

    @classmethod
    def from_json(cls, codecs: object, dtype: np.dtype[Any] | None) -> Self:
        """Read a chain; any compressor's settings will do, since its frames carry them.

        Raises
        ------
        TypeError, ValueError, KeyError
            It isn't one of those that a store may hold.
        """
        nodes = [mapping(codec) for codec in sequence(codecs)]
        names = [node["name"] for node in nodes]
        if dtype is None and names == ["vlen-utf8", "zstd", "crc32c"]:
            return cls(dtype=None)
        differences, half = names[:1] == [DIFFERENCES], names[:1] == [HALF]
        if dtype is None or names[differences or half :] != ["bytes", "blosc", "crc32c"]:
            raise ValueError(f"codecs {names}")
        _require(nodes[differences or half], {"endian": "little"}, or_none=dtype.itemsize == 1)
        if differences:
            if dtype != np.int32:
                raise ValueError(f"differences of {dtype}")
            _require(nodes[0], {"dtype": "<i4"})
        if half:
            if dtype != np.float32:
                raise ValueError(f"halves of {dtype}")
            _require(nodes[0], _HALF)
        return cls(dtype=dtype, differences=differences, half=half)


def sharded(chunk_shape: tuple[int, ...], chain: Chain) -> list[dict[str, Any]]:
    """Give the codecs of an array whose files hold several chunks, index at the end."""
    configuration = {
        "chunk_shape": list(chunk_shape),
        "codecs": chain.to_json(),
        "index_codecs": _INDEX,
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]


def unsharded(codecs: object) -> tuple[tuple[int, ...] | None, object]:
    """Split the codecs of an array into the shape of the chunks in a shard, and their codecs.

    The shape is None where a file holds one chunk.

    Raises
    ------
    TypeError, ValueError, KeyError
        The shard isn't laid out as a store's are.
    """
    nodes = sequence(codecs)
    first = mapping(nodes[0]) if nodes else {}
    if first.get("name") != "sharding_indexed":
        return None, codecs
    configuration = mapping(first["configuration"])
    index = [mapping(codec)["name"] for codec in sequence(configuration["index_codecs"])]
    location = configuration.get("index_location", "end")
    if len(nodes) > 1 or index != ["bytes", "crc32c"] or location != "end":
        raise ValueError(f"a shard with its index {index} at the {location}")
    shape = tuple(count(extent) for extent in sequence(configuration["chunk_shape"]))
    return shape, configuration["codecs"]


def _require(
    node: Mapping[str, object], expected: dict[str, str], *, or_none: bool = False
) -> None:
    configuration = node.get("configuration")
    if configuration != expected and not (or_none and not configuration):
        raise ValueError(f"{node['name']} with {configuration}")


def mapping(value: object) -> dict[str, Any]:
    """Give a JSON object that may be anybody's."""
    if not isinstance(value, dict):
        raise TypeError(f"got {value!r}, expected a mapping")
    return value


def sequence(value: object) -> list[Any]:
    """Give a JSON array that may be anybody's."""
    if not isinstance(value, list):
        raise TypeError(f"got {value!r}, expected a list")
    return value


def count(value: object) -> int:
    """Give a number from 0 to 2**63 - 1 that may be anybody's."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise TypeError(f"got {value!r}, expected a count")
    return value
