"""The fields of an array's ``zarr.json`` in which a store's arrays may differ.

These are the shape, the chunks, and the chain of codecs that makes a chunk's bytes. Chains that a
store may not hold are refused.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Self

import msgspec
import numpy as np

from sparsefeat.store.format.documents import (
    CHUNK_ELEMENTS,
    CHUNKS,
    CHUNKS_PER_FILE,
    JSON,
    TEXT_BYTES,
)

BLOCK: Final = 1 << 20  # bytes that Blosc compresses together: a whole chunk of float32
DIFFERENCES: Final = "numcodecs.delta"
HALF: Final = "numcodecs.astype"
_HALF: Final = {"encode_dtype": "<f2", "decode_dtype": "<f4"}

_TEXT: Final = "string"
_NUMBERS: Final = ("float32", "int32", "int64", "uint8", "uint16")

_TEXT_CODECS: Final[list[dict[str, Any]]] = [
    {"name": "vlen-utf8", "configuration": {}},
    {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
    {"name": "crc32c"},
]
_INDEX_CODECS: Final = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "crc32c"},
]


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
        """Give the chain as in Zarr's metadata."""
        if self.dtype is None:
            return _TEXT_CODECS
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
        """Read a chain; the compressor may have any settings, since its frames contain them.

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
        "index_codecs": _INDEX_CODECS,
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": configuration}]


def unsharded(codecs: object) -> tuple[tuple[int, ...] | None, object]:
    """Split the codecs of an array into the shape of the chunks in a shard, and their codecs.

    The shape is None if a file holds one chunk.

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
    """Check that untrusted JSON is an object, and return it."""
    if not isinstance(value, dict):
        raise TypeError(f"got {value!r}, expected a mapping")
    return value


def sequence(value: object) -> list[Any]:
    """Check that untrusted JSON is an array, and return it."""
    if not isinstance(value, list):
        raise TypeError(f"got {value!r}, expected a list")
    return value


def count(value: object) -> int:
    """Check that untrusted JSON is a number from 0 to 2**63 - 1, and return it."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise TypeError(f"got {value!r}, expected a count")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayMetadata:
    """Shape, elements, chunks and codecs of an array of at most two axes.

    Parameters
    ----------
    shape
        Extents.
    chunk
        Extents of what is compressed together.
    file
        Extents of what lies in one file: whole chunks, all columns.
    chain
        Type of the elements, and how a chunk's bytes are made.
    attributes
        The array's own.
    constant
        The value of all elements if no file holds them; None if files do.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    file: tuple[int, ...]
    chain: Chain
    attributes: Mapping[str, JSON] = field(default_factory=dict)
    constant: str | int | None = None

    def __post_init__(self) -> None:
        shape, chunk, file = self.shape, self.chunk, self.file
        if not len(shape) == len(chunk) == len(file) <= 2 or 0 in (*chunk, *file):
            raise ValueError(f"shape {shape} in chunks {chunk} in files {file}")
        if any(whole % part for whole, part in zip(file, chunk, strict=True)):
            raise ValueError(f"files {file} that aren't whole chunks {chunk}")
        if len(shape) == 2:
            if file[1] < shape[1] or (self.n_across == 1 and chunk[1] != max(1, shape[1])):
                raise ValueError(f"chunks {chunk} in files {file} for {shape[1]} columns")
            if self.n_across > 1 and chunk[0] > 1:
                raise ValueError(f"chunks {chunk} of several rows, but not of whole ones")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements once read; text is Python's."""
        return np.dtype(object) if self.chain.dtype is None else self.chain.dtype

    @property
    def width(self) -> int:
        """Elements in one step along the first axis."""
        return math.prod(self.shape[1:])

    @property
    def n_elements(self) -> int:
        """Elements of the array."""
        return math.prod(self.shape)

    @property
    def chunk_elements(self) -> int:
        """Elements of a chunk, including those beyond the array's end."""
        return math.prod(self.chunk)

    @property
    def n_across(self) -> int:
        """Chunks side by side in a row."""
        return self.file[1] // self.chunk[1] if len(self.chunk) > 1 else 1

    @property
    def chunks_per_file(self) -> int:
        """Chunks that a file has room for; a file of one chunk has no index."""
        return math.prod(self.file) // self.chunk_elements

    @property
    def n_chunks(self) -> int:
        """Chunks that hold elements of the array."""
        if self.constant is not None:
            return 0
        if not self.shape:
            return 1
        return -(-self.shape[0] // self.chunk[0]) * self.n_across if self.n_elements else 0

    @property
    def n_files(self) -> int:
        """Files that hold elements of the array."""
        return -(-self.n_chunks // self.chunks_per_file)

    def file_name(self, number: int) -> str:
        """Name a file, relative to the array's folder."""
        return ".".join(["c", *[str(number)][: len(self.shape)], *["0" for _ in self.shape[1:]]])

    def span(self, chunk: int) -> tuple[int, int]:
        """Say which elements of the flattened array a chunk holds: the first, and one past."""
        row, column = divmod(chunk, self.n_across)
        if self.n_across > 1:
            start = row * self.width + column * self.chunk[1]
            return start, min(start + self.chunk[1], (row + 1) * self.width)
        return chunk * self.chunk_elements, min((chunk + 1) * self.chunk_elements, self.n_elements)

    def chunk_of(self, element: int) -> int:
        """Say which chunk holds an element of the flattened array."""
        if self.n_across > 1:
            row, column = divmod(element, self.width)
            return row * self.n_across + column // self.chunk[1]
        return element // self.chunk_elements

    def to_json(self) -> dict[str, Any]:
        """Give the content of ``zarr.json``."""
        codecs = self.chain.to_json()
        text = self.chain.dtype is None
        return {
            "shape": list(self.shape),
            "data_type": _TEXT if text else self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.file)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": self._fill(self.chain.dtype) if self.constant is None else self.constant,
            "codecs": codecs if self.file == self.chunk else sharded(self.chunk, self.chain),
            "attributes": dict(self.attributes),
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }

    @staticmethod
    @lru_cache(maxsize=1024)  # most parts of a store have the same metadata
    def parse(node: bytes) -> "ArrayMetadata":
        """Read ``zarr.json`` as `from_json` does, given its text."""
        return ArrayMetadata.from_json(msgspec.json.decode(node))

    @classmethod
    def from_json(cls, node: object) -> Self:
        """Read ``zarr.json``, which may come from anybody.

        Raises
        ------
        TypeError, ValueError, KeyError
            It isn't one that a store may hold.
        """
        fields = mapping(node)
        kind, name = (fields["zarr_format"], fields["node_type"]), fields["data_type"]
        if kind != (3, "array") or fields.get("storage_transformers"):
            raise ValueError(f"no array in Zarr v3: {kind}")
        if name != _TEXT and name not in _NUMBERS:
            raise ValueError(f"elements of type {name!r}")
        grid, keys = mapping(fields["chunk_grid"]), mapping(fields["chunk_key_encoding"])
        separator = mapping(keys.get("configuration", {})).get("separator", "/")
        if (grid["name"], keys["name"], separator) != ("regular", "default", "."):
            raise ValueError(f"chunk grid {grid['name']}, keys {keys['name']} with {separator!r}")
        file = _extents(mapping(grid["configuration"])["chunk_shape"])
        dtype = None if name == _TEXT else np.dtype(str(name))
        fill = fields.get("fill_value")
        chunk, codecs = unsharded(fields["codecs"])
        metadata = cls(
            shape=_extents(fields["shape"]),
            chunk=file if chunk is None else chunk,
            file=file,
            chain=Chain.from_json(codecs, dtype),
            attributes=mapping(fields.get("attributes", {})),
            constant=None if fill == cls._fill(dtype) else _constant(fill, dtype),
        )
        if (
            metadata.chunk_elements > CHUNK_ELEMENTS
            or metadata.n_chunks > CHUNKS
            or metadata.chunks_per_file > CHUNKS_PER_FILE
            or (metadata.constant is not None and metadata.n_elements > CHUNK_ELEMENTS)
        ):
            raise ValueError(f"shape {metadata.shape} in chunks {metadata.chunk} in files {file}")
        return metadata

    @staticmethod
    def _fill(dtype: np.dtype[Any] | None) -> str | float:
        """Give the fill value of an array whose elements are in files."""
        return "" if dtype is None else 0.0 if dtype.kind == "f" else 0


def _constant(value: object, dtype: np.dtype[Any] | None) -> str | int:
    if dtype is None and isinstance(value, str) and len(value.encode()) <= TEXT_BYTES:
        return value
    if dtype == np.int64 and type(value) is int and -(2**63) <= value < 2**63:
        return value
    raise ValueError(f"{value!r} as the value of all elements")


def _extents(value: object) -> tuple[int, ...]:
    return tuple(count(extent) for extent in sequence(value))
