"""One array of a committed part: read by chunks, each decoded once, in several threads.

zarr would read it too; this takes a third of the time, writes each element where it is wanted
without a copy between, and refuses what no store holds before memory is allocated for it.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store.array_metadata import ArrayMetadata
from sparsefeat.store.bounds import most_text_bytes
from sparsefeat.store.chunks import LEAST_BYTES, OVERHEAD_BYTES, decode_into, decode_text
from sparsefeat.store.json_file import read_json
from sparsefeat.store.pool import in_threads, scratch
from sparsefeat.store.regular_file import open_regular, read_refusal, read_regular, refuse_links
from sparsefeat.store.segments import Segments
from sparsefeat.store.shards import read_index

Check = Callable[[npt.NDArray[Any]], None]


class StoredArray:
    """An array on disk; its metadata are read at once.

    Parameters
    ----------
    folder
        The array's.

    Raises
    ------
    OSError, TypeError, ValueError, KeyError
        The metadata are missing, damaged, or not such as a store's; or the files are missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        refuse_links(folder, "c")
        self.metadata = ArrayMetadata.from_json(read_json(folder / "zarr.json"))
        if self.metadata.chain.dtype is None:
            n_bytes = most_text_bytes(self.metadata.chunk_elements)
        else:
            n_bytes = self.metadata.chunk_elements * self.metadata.dtype.itemsize
        self._most_bytes = n_bytes + OVERHEAD_BYTES
        self._require_files()
        self._indexes: dict[int, list[tuple[int, int] | None]] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return self.metadata.shape

    def read(self, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Read all of it, or what lies from `start` to `stop` along the first axis.

        Raises
        ------
        OSError, ValueError
            A file is missing, or a chunk is not what was written.
        """
        metadata = self.metadata
        if metadata.chain.dtype is None:
            return self._texts()[start:stop] if self.shape else self._texts().reshape(())
        if not self.shape:
            raise ValueError("a single number, expected an array of one or two axes")
        first, last, _ = slice(start, stop).indices(self.shape[0])
        out = np.empty((max(0, last - first), *self.shape[1:]), metadata.dtype)
        self.gather(Segments.whole(first * metadata.width, last * metadata.width), out.reshape(-1))
        return out

    def gather(self, segments: Segments, out: npt.NDArray[Any], check: Check | None = None) -> None:
        """Copy stretches of the flattened array.

        Parameters
        ----------
        segments
            Which, and where to.
        out
            Of one axis; of the array's type, or one that it is cast to.
        check
            Called with the elements that were read, piece by piece, in several threads;
            raises ValueError on what must not be.

        Raises
        ------
        OSError, ValueError
            A file is missing, or a chunk is not what was written.
        """
        chunks = self._chunks_of(segments)
        stops = segments.stop

        def copy(chunk: int) -> None:
            start, stop = self.metadata.span(chunk)
            low = int(np.searchsorted(stops, start, side="right"))
            high = int(np.searchsorted(segments.source, stop, side="left"))
            count = self.metadata.chunk_elements
            direct = None
            if high == low + 1 and count == stop - start and out.dtype == self.metadata.dtype:
                begin, offset = int(segments.target[low]), start - int(segments.source[low])
                if offset >= 0 and stop <= stops[low]:
                    direct = out[begin + offset : begin + offset + count]
            elements = scratch(count, self.metadata.dtype) if direct is None else direct
            decode_into(self._stored(chunk), self.metadata.chain, elements)
            if direct is not None:
                if check is not None:
                    check(direct)
                return
            for number in range(low, high):
                source = int(segments.source[number])
                first, last = max(start, source), min(stop, int(stops[number]))
                piece = elements[first - start : last - start]
                if check is not None:
                    check(piece)
                begin = int(segments.target[number]) + first - source
                out[begin : begin + len(piece)] = piece

        if len(chunks) == 1:
            copy(chunks[0])
            return
        for _ in in_threads(copy, chunks):
            pass

    def files(self) -> Iterator[str]:
        """Name the files that it lies in, relative to its folder."""
        return map(self.metadata.file_name, range(self.metadata.n_files))

    def _require_files(self) -> None:
        """See that there are files for what is claimed: not which, which reading them tells."""
        missing = self.metadata.n_chunks * LEAST_BYTES
        for name in self.files():
            if missing <= 0:
                return
            try:
                missing -= os.lstat(f"{self.folder}/{name}").st_size
            except OSError as exc:
                if read_refusal(self.folder, exc):
                    raise
        if missing > 0:
            raise ValueError(f"there are no files for its {self.metadata.n_elements} elements")

    def _chunks_of(self, segments: Segments) -> list[int]:
        """List the chunks that hold something wanted, each once."""
        chunks: list[int] = []
        beyond = 0
        for first, stop in zip(segments.source.tolist(), segments.stop.tolist(), strict=True):
            if stop > first:
                start = max(beyond, self.metadata.chunk_of(first))
                beyond = self.metadata.chunk_of(stop - 1) + 1
                chunks += range(start, beyond)
        return chunks

    def _stored(self, chunk: int) -> bytes:
        """Read a chunk's bytes."""
        number, place = divmod(chunk, self.metadata.chunks_per_file)
        file = self.folder / self.metadata.file_name(number)
        if len(self.shape) > 1:
            refuse_links(self.folder / "c", str(number))
        most = self._most_bytes
        if self.metadata.chunks_per_file == 1:
            return read_regular(file, most)
        if number not in self._indexes:
            self._indexes[number] = read_index(file, self.metadata.chunks_per_file, most)
        where = self._indexes[number][place]
        if where is None:
            raise ValueError(f"chunk {chunk} is missing")
        offset, length = where
        with open_regular(file) as stream:
            stream.seek(offset)
            return stream.read(length)

    def _texts(self) -> npt.NDArray[Any]:
        """Read all texts: they lie in one chunk."""
        metadata = self.metadata
        if metadata.n_chunks > 1 or metadata.chunks_per_file > 1:
            raise ValueError(f"{metadata.n_chunks} chunks of text, expected one")
        if not metadata.n_chunks:
            return np.empty(0, object)
        return decode_text(self._stored(0), metadata.chunk_elements)[: metadata.n_elements]
