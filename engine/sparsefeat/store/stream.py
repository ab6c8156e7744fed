"""An array on disk that grows along its first axis."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store.array_metadata import ArrayMetadata
from sparsefeat.store.chunks import ChunkEncoder
from sparsefeat.store.codecs import Chain
from sparsefeat.store.group import PartGroup
from sparsefeat.store.json_fields import JSON
from sparsefeat.store.layout import CHUNK, SHARD
from sparsefeat.store.pool import in_threads
from sparsefeat.store.shards import cut, write_chunk, write_shard


class ArrayStream:
    """Collects one shard in memory, and writes it when it is full.

    Parameters
    ----------
    group
        The part.
    name
        The array's path in it.
    chain
        Its elements' type, and how chunks are made.
    width
        None for an array of one axis; else the extent of the second.
    attributes
        The array's.
    """

    def __init__(
        self,
        group: PartGroup,
        name: str,
        chain: Chain,
        *,
        width: int | None = None,
        attributes: Mapping[str, JSON] | None = None,
    ) -> None:
        self._group, self._name, self._chain = group, name, chain
        self._encoder = ChunkEncoder(self._chain)
        self._attributes = attributes or {}
        row_size = width or 1
        self._tail = () if width is None else (width,)
        self._chunk_tail = () if width is None else (min(width, CHUNK),)
        self._chunks_across = 1 if width is None else math.ceil(width / min(width, CHUNK))
        self._chunk_rows = max(1, CHUNK // row_size)
        rows = max(1, SHARD // (self._chunk_rows * row_size)) * self._chunk_rows
        # Pages of it that are never filled are never taken from the system.
        self._buffer: npt.NDArray[Any] = np.empty((rows, *self._tail), chain.stored)
        self._filled = 0
        self._length = 0  # rows written
        self._shard_rows = 0  # known once the first shard is written
        self._n_shards = 0

    def append(self, values: npt.NDArray[Any]) -> None:
        """Append (n,) or (n, width) elements, copying them."""
        start = 0
        while start < len(values):
            room = self.room(len(values) - start)
            room[...] = values[start : start + len(room)]
            start += len(room)
            self.advance(len(room))

    def room(self, rows: int) -> npt.NDArray[Any]:
        """Give memory for the next rows, at most `rows` and at least one, to be filled."""
        return self._buffer[self._filled : self._filled + rows]

    def advance(self, rows: int) -> None:
        """Say that so many rows of what `room` gave are filled."""
        self._filled += rows
        if self._filled == len(self._buffer):
            self._flush()

    def finish(self) -> None:
        """Write what is left, and the array's metadata."""
        if self._filled:
            self._flush()
        chunk = (min(self._chunk_rows, max(1, self._shard_rows)), *self._chunk_tail)
        file = (
            max(1, self._shard_rows),
            *(extent * self._chunks_across for extent in self._chunk_tail),
        )
        metadata = ArrayMetadata(
            shape=(self._length, *self._tail),
            chunk=chunk,
            file=file,
            chain=self._chain,
            attributes=self._attributes,
        )
        self._group.array(self._name, metadata)

    def _flush(self) -> None:
        if not self._n_shards:  # a short array has short chunks
            self._chunk_rows = min(self._chunk_rows, self._filled)
            self._shard_rows = math.ceil(self._filled / self._chunk_rows) * self._chunk_rows
        shape = (self._chunk_rows, *self._chunk_tail)
        # The network's threads wait for each other: one that loses its processor to a compressor
        # holds up all, so that half the work in two threads delays them half as long.
        encoded = in_threads(self._encoder.encode, cut(self._buffer[: self._filled], shape))
        place = ("c", str(self._n_shards), *("0" for _ in self._tail))
        file = self._group.path.joinpath(self._name, *place)
        n_chunks = self._shard_rows // self._chunk_rows * self._chunks_across
        if n_chunks == 1:
            write_chunk(file, next(encoded))
        else:
            write_shard(file, encoded, n_chunks)
        self._length += self._filled
        self._n_shards += 1
        self._filled = 0
