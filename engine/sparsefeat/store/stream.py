"""An array on disk that grows along its first axis."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from sparsefeat.store.codecs import delta
from sparsefeat.store.group import PartGroup
from sparsefeat.store.header import JSON
from sparsefeat.store.layout import CHUNK, SHARD


class ArrayStream:
    """Collects one shard in memory, and writes it when it is full.

    Parameters
    ----------
    group
        The part.
    name
        The array's path in it.
    dtype
        Its elements' type, of 4 bytes.
    width
        None for an array of one axis; else the extent of the second.
    differences
        Whether to store the differences of neighbours (int32 only).
    attributes
        The array's.
    """

    def __init__(
        self,
        group: PartGroup,
        name: str,
        dtype: npt.DTypeLike,
        *,
        width: int | None = None,
        differences: bool = False,
        attributes: Mapping[str, JSON] | None = None,
    ) -> None:
        self._group, self._name, self._dtype = group, name, np.dtype(dtype)
        self._filters = (delta(),) if differences else ()
        self._attributes = attributes
        row_size = width or 1
        self._tail = () if width is None else (width,)
        self._chunk_tail = () if width is None else (min(width, CHUNK),)
        self._shard_tail = tuple(
            math.ceil(extent / chunk) * chunk
            for extent, chunk in zip(self._tail, self._chunk_tail, strict=True)
        )
        self._chunk_rows = max(1, CHUNK // row_size)
        rows = max(1, SHARD // (self._chunk_rows * row_size)) * self._chunk_rows
        # Pages of it that are never filled are never taken from the system.
        self._buffer: npt.NDArray[Any] = np.empty((rows, *self._tail), self._dtype)
        self._filled = 0
        self._written = 0
        self._array: zarr.Array[Any] | None = None

    def append(self, values: npt.NDArray[Any]) -> None:
        """Append (n,) or (n, width) elements, copying them."""
        start = 0
        while start < len(values):
            count = min(len(values) - start, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = values[start : start + count]
            self._filled += count
            start += count
            if self._filled == len(self._buffer):
                self._flush()

    def finish(self) -> None:
        """Write what is left, and the array's final shape."""
        if self._filled or self._array is None:
            self._flush()

    def _flush(self) -> None:
        length = self._written + self._filled
        if self._array is None:
            self._array = self._create()
        else:
            self._array.resize((length, *self._tail))
        if self._filled:
            self._array[self._written : length] = self._buffer[: self._filled]
        self._written, self._filled = length, 0

    def _create(self) -> "zarr.Array[Any]":
        rows = max(1, self._filled)
        chunk_rows = min(self._chunk_rows, rows)
        chunks = (chunk_rows, *self._chunk_tail)
        shards = (math.ceil(rows / chunk_rows) * chunk_rows, *self._shard_tail)
        return self._group.array(
            self._name,
            shape=(self._filled, *self._tail),
            dtype=self._dtype,
            chunks=chunks,
            shards=None if shards == chunks else shards,
            filters=self._filters,
            attributes=self._attributes,
        )
