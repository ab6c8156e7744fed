"""Files of chunks: one chunk alone, or a shard of several with their index at its end."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store.chunks import CHECKSUM_BYTES, sealed, unsealed
from sparsefeat.store.layout import is_temporary_name
from sparsefeat.store.regular_file import open_regular

# What a shard's index says of a chunk that isn't there, because it lies beyond the array.
_ABSENT = 2**64 - 1
_ENTRY_BYTES = 16  # offset, length


def make_folder(folder: Path) -> None:
    """Make a folder in a part, and those above it up to the part.

    Raises
    ------
    FileNotFoundError
        The part itself was moved or deleted, perhaps with the whole store: a new one, made here,
        would lack what was written before.
    """
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        if is_temporary_name(folder.name):
            raise
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)


def write_chunk(file: Path, chunk: bytes) -> None:
    """Write the one chunk of a file."""
    make_folder(file.parent)
    file.write_bytes(chunk)


def write_shard(file: Path, chunks: Iterable[bytes], n_chunks: int) -> None:
    """Write a shard of room for `n_chunks`, of which the first ones are there."""
    make_folder(file.parent)
    index = np.full((n_chunks, 2), _ABSENT, "<u8")
    offset = 0
    with file.open("wb") as stream:
        for number, chunk in enumerate(chunks):
            index[number] = offset, len(chunk)
            offset += stream.write(chunk)
        stream.write(sealed(index.tobytes()))


def read_index(file: Path, n_chunks: int, most: int) -> list[tuple[int, int] | None]:
    """Read where a shard's chunks lie: offset and length of each, None for those not there.

    Parameters
    ----------
    file
        The shard.
    n_chunks
        For how many it has room.
    most
        Bytes that a chunk may have.

    Raises
    ------
    ValueError
        The index is damaged, points out of the file, or to the same bytes twice.
    OSError
        The file can't be read.
    """
    n_bytes = n_chunks * _ENTRY_BYTES + CHECKSUM_BYTES
    with open_regular(file) as stream:
        end = stream.seek(0, 2) - n_bytes
        if end < 0:
            raise ValueError(f"a shard of {end + n_bytes} bytes, whose index alone has {n_bytes}")
        if end > n_chunks * most:
            raise ValueError(f"a shard of {end + n_bytes} bytes, expected {n_chunks} times {most}")
        stream.seek(end)
        index = np.frombuffer(unsealed(stream.read(n_bytes)), "<u8").reshape(-1, 2)
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


def cut(rows: npt.NDArray[Any], chunk_shape: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
    """Cut rows of one or two axes into chunks, each flat and filled up with zeros, in C order.

    Examples
    --------
    >>> [chunk.tolist() for chunk in cut(np.array([[1, 2, 3], [4, 5, 6]]), (1, 2))]
    [[1, 2], [3, 0], [4, 5], [6, 0]]
    """
    size = int(np.prod(chunk_shape))
    width = chunk_shape[1] if len(chunk_shape) > 1 else 1
    table = rows.reshape(len(rows), -1)
    for row in range(0, table.shape[0], chunk_shape[0]):
        for column in range(0, table.shape[1], width):
            part = table[row : row + chunk_shape[0], column : column + width]
            if part.size == size and part.flags.c_contiguous:
                yield part.reshape(-1)
                continue
            whole = np.zeros((chunk_shape[0], width), rows.dtype)
            whole[: part.shape[0], : part.shape[1]] = part
            yield whole.reshape(-1)
