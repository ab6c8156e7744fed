"""One array of a part: read by chunks, each decoded once, and expanded, in several threads.

zarr could read it, too. This takes a third of the time, writes each element directly to its
destination, and refuses arrays that no store holds before it allocates memory for them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.storage import Storage
from sparsefeat.store.format import (
    ENTRY_BYTES,
    MIN_BYTES,
    OVERHEAD_BYTES,
    ArrayMetadata,
    Utf8,
    decode_into,
    decode_text,
    decode_utf8,
    most_text_bytes,
    parse_index,
    read_index,
    scratch,
)
from sparsefeat.system import in_threads
from sparsefeat_kernels import Csr, dequantize, to_dense

Check = Callable[[npt.NDArray[Any]], None]
Int64 = npt.NDArray[np.int64]


T = TypeVar("T")

Float32 = npt.NDArray[np.float32]

_RANGE_BYTES = 8 << 20  # in one request
_AT_ONCE = 1 << 18  # elements: a thread's share, still in its cache when it is done


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Ranges ``source[i]`` to ``source[i] + length[i]``, copied to ``target[i]`` and on.

    All are int64 (n,); neither the starts nor the ends of the ranges decrease.
    """

    source: Int64
    target: Int64
    length: Int64

    @classmethod
    def whole(cls, start: int, stop: int) -> Self:
        """Give one range, which copies elements `start` to `stop` to the front."""
        return cls(*(np.array([number], np.int64) for number in (start, 0, stop - start)))

    @classmethod
    def rows(cls, rows: Int64, source: Int64, target: Int64, slots: Int64) -> Self:
        """Give the ranges that copy rows of elements, one for neighbouring rows.

        Parameters
        ----------
        rows
            Wanted rows, ascending, repeated or not.
        source
            (all rows + 1,), where each row's elements start.
        target
            (slots + 1,), where the elements of each slot start.
        slots
            The slot of each of `rows`.
        """
        starts, lengths, targets = source[rows], source[rows + 1] - source[rows], target[slots]
        some = lengths > 0
        starts, lengths, targets = starts[some], lengths[some], targets[some]
        if not len(starts):
            return cls(starts, targets, lengths)
        goes_on = (starts[1:] == starts[:-1] + lengths[:-1]) & (
            targets[1:] == targets[:-1] + lengths[:-1]
        )
        first = np.append(0, np.flatnonzero(~goes_on) + 1)
        return cls(starts[first], targets[first], np.add.reduceat(lengths, first))

    @property
    def stop(self) -> Int64:
        """One past the last element of each."""
        return self.source + self.length


class StoredArray:
    """An array on disk.

    Parameters
    ----------
    storage
        The store's.
    key
        The array's folder.
    metadata
        Shape, chunks and codecs.
    copies
        Copies in the part's header, by the names of the files: of small files, and of the indexes
        of shards.

    Raises
    ------
    ValueError
        Files are missing.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        metadata: ArrayMetadata,
        copies: Mapping[str, bytes] | None = None,
    ) -> None:
        self._storage, self.key, self.metadata = storage, key, metadata
        self._copies = copies or {}
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
        """Read the array, or the range from `start` to `stop` along the first axis.

        Raises
        ------
        OSError, ValueError
            A file is missing, or a chunk is not what was written.
        """
        metadata = self.metadata
        if metadata.constant is not None:
            filled = np.empty(self.shape, metadata.dtype)
            filled.fill(metadata.constant)  # where np.full would lose NULs at a text's end
            return filled[start:stop]
        if metadata.chain.dtype is None:
            return self._texts()[start:stop] if self.shape else self._texts().reshape(())
        if not self.shape:
            raise ValueError("a single number, expected an array of one or two axes")
        first, last, _ = slice(start, stop).indices(self.shape[0])
        out = np.empty((max(0, last - first), *self.shape[1:]), metadata.dtype)
        self.gather(Segments.whole(first * metadata.width, last * metadata.width), out.reshape(-1))
        return out

    def gather(self, segments: Segments, out: npt.NDArray[Any], check: Check | None = None) -> None:
        """Copy ranges of the flattened array.

        Parameters
        ----------
        segments
            The ranges, and where they go.
        out
            One-dimensional; of the array's type, or one that it is cast to.
        check
            Called with the elements that were read, piece by piece, in several threads; raises
            ValueError if one is invalid.

        Raises
        ------
        OSError, ValueError
            A file is missing, or a chunk is not what was written.
        """
        chunks = self._chunks_of(segments)
        stops = segments.stop

        def copy(chunk: int, stored: bytes) -> None:
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
            decode_into(stored, self.metadata.chain, elements)
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

        def copy_run(run: list[int]) -> None:
            for chunk, stored in zip(run, self._stored(run), strict=True):
                copy(chunk, stored)

        if len(chunks) == 1:
            copy_run(chunks)
            return
        at_once = self._storage.reads_at_once
        for _ in in_threads(self._index, self._unknown(chunks), at_once):
            pass
        for _ in in_threads(copy_run, self._runs(chunks), at_once):
            pass

    def files(self) -> Iterator[str]:
        """Name the array's files, relative to its folder."""
        return map(self.metadata.file_name, range(self.metadata.n_files))

    def _require_files(self) -> None:
        """Check that there are enough files for the claimed size; reading checks each file."""
        if self.metadata.n_chunks == 1:  # not large: reading checks it
            return
        missing = self.metadata.n_chunks * MIN_BYTES
        for name in self.files():
            if missing <= 0:
                return
            if name in self._copies:
                missing -= len(self._copies[name]) // ENTRY_BYTES * MIN_BYTES
                continue
            with contextlib.suppress(OSError):
                missing -= self._storage.size(f"{self.key}/{name}")
        if missing > 0:
            raise ValueError(f"there are no files for its {self.metadata.n_elements} elements")

    def _chunks_of(self, segments: Segments) -> list[int]:
        """List the chunks that hold wanted elements, each once."""
        chunks: list[int] = []
        beyond = 0
        for first, stop in zip(segments.source.tolist(), segments.stop.tolist(), strict=True):
            if stop > first:
                start = max(beyond, self.metadata.chunk_of(first))
                beyond = self.metadata.chunk_of(stop - 1) + 1
                chunks += range(start, beyond)
        return chunks

    def _unknown(self, chunks: list[int]) -> list[int]:
        """List the files of these chunks whose index isn't known yet."""
        if self.metadata.chunks_per_file == 1:
            return []
        return sorted({each // self.metadata.chunks_per_file for each in chunks} - {*self._indexes})

    def _index(self, number: int) -> list[tuple[int, int] | None]:
        """Give where a file's chunks lie; cached."""
        if number not in self._indexes:
            n_chunks, most = self.metadata.chunks_per_file, self._most_bytes
            if (copy := self._copies.get(self.metadata.file_name(number))) is not None:
                index = parse_index(copy, n_chunks, most, n_chunks * most)
            else:
                with self._storage.open(self._file(number)) as file:
                    index = read_index(file, n_chunks, most)
            self._indexes[number] = index
        return self._indexes[number]

    def _file(self, number: int) -> str:
        return f"{self.key}/{self.metadata.file_name(number)}"

    def _runs(self, chunks: list[int]) -> list[list[int]]:
        """Group adjacent chunks of a file, if each request costs time."""
        if self._storage.reads_at_once == 1 or self.metadata.chunks_per_file == 1:
            return [[chunk] for chunk in chunks]
        runs: list[list[int]] = []
        end = n_bytes = 0
        for chunk in chunks:
            number, slot = divmod(chunk, self.metadata.chunks_per_file)
            offset, length = self._index(number)[slot] or (-1, 0)
            goes_on = runs and runs[-1][-1] // self.metadata.chunks_per_file == number
            if goes_on and offset == end and n_bytes + length <= _RANGE_BYTES:
                runs[-1].append(chunk)
                n_bytes += length
            else:
                runs.append([chunk])
                n_bytes = length
            end = offset + length
        return runs

    def _stored(self, run: list[int]) -> list[bytes]:
        """Read the bytes of one chunk, or of several that `_runs` has grouped."""
        number, first = divmod(run[0], self.metadata.chunks_per_file)
        file = self._file(number)
        if self.metadata.chunks_per_file == 1:
            copy = self._copies.get(self.metadata.file_name(number))
            return [self._storage.read(file, self._most_bytes) if copy is None else copy]
        index = self._index(number)
        slots = [slot for chunk in run if (slot := index[chunk - run[0] + first]) is not None]
        if len(slots) < len(run):
            raise ValueError(f"chunk {run[0]} is missing")
        start, length = slots[0][0], sum(length for _, length in slots)
        with self._storage.open(file) as opened:
            content = opened.read(start, length)
        return [content[offset - start : offset - start + length] for offset, length in slots]

    def read_utf8(self) -> Utf8:
        """Read all of an array of text.

        Raises
        ------
        OSError, ValueError
            A file is missing, or a chunk is not what was written.
        """
        metadata = self.metadata
        if metadata.constant is not None:
            return Utf8.repeated(str(metadata.constant), metadata.n_elements)
        chunk, count = self._text_chunk(), metadata.n_elements
        texts = Utf8.of(np.empty(0, object))
        if chunk is not None:
            texts = decode_utf8(chunk, metadata.chunk_elements)
        return Utf8(texts.offsets[: count + 1], texts.data[: texts.offsets[count]])

    def _texts(self) -> npt.NDArray[Any]:
        """Read all texts."""
        metadata, chunk = self.metadata, self._text_chunk()
        if chunk is None:
            return np.empty(0, object)
        return decode_text(chunk, metadata.chunk_elements)[: metadata.n_elements]

    def _text_chunk(self) -> bytes | None:
        """Read the one chunk in which all texts lie, if there are any."""
        metadata = self.metadata
        if metadata.n_chunks > 1 or metadata.chunks_per_file > 1:
            raise ValueError(f"{metadata.n_chunks} chunks of text, expected one")
        return self._stored([0])[0] if metadata.n_chunks else None


def scale_stretches(
    segments: Segments,
    values: Float32,
    indices: npt.NDArray[Any],
    scales: Float32,
    *,
    squared: bool,
) -> None:
    """Replace codes of a layer stored as CSR by their values.

    Parameters
    ----------
    segments
        Their targets are the codes.
    values, indices
        float32, and int32 or int64: all codes that were read, and their columns.
    scales
        float32 (C,).
    squared
        Whether a value is its scale times the square of its code.
    """

    def scale(stretch: tuple[int, int]) -> None:
        slot = slice(*stretch)
        columns = indices[slot].astype(np.int32, copy=False)
        dequantize(values[slot], columns, scales, squared=squared)

    stretches = [
        (start, min(start + _AT_ONCE, begin + length))
        for begin, length in zip(segments.target.tolist(), segments.length.tolist(), strict=True)
        for start in range(begin, begin + length, _AT_ONCE)
    ]
    _each(scale, stretches)


def scale_rows(
    slots: npt.NDArray[np.int64], out: Float32, scales: Float32, *, squared: bool
) -> None:
    """Replace codes in some rows of `out`, (rows, features), by their values."""

    def scale(slot: int) -> None:
        row = out[slot].reshape(-1, len(scales))
        if squared:
            np.multiply(row, row, out=row)
        np.multiply(row, scales, out=row)

    _each(scale, slots.tolist())


def expand_rows(csr: Csr, slots: npt.NDArray[np.int64], out: Float32) -> None:
    """Write the rows of `csr` to their slots among the rows of `out`.

    Raises
    ------
    ValueError
        The column numbers of a row don't strictly increase.
    """
    step = max(1, _AT_ONCE // max(1, csr.n_columns))
    breaks = np.flatnonzero(np.diff(slots) != 1) + 1
    bounds = [0, *breaks.tolist(), len(slots)]

    def expand(start: int, stop: int) -> None:
        slot = int(slots[start])
        to_dense(csr.rows(start, stop), out=out[slot : slot + stop - start])

    stretches = [
        (start, min(start + step, last))
        for first, last in pairwise(bounds)
        for start in range(first, last, step)
    ]
    _each(lambda stretch: expand(*stretch), stretches)


def _each(task: Callable[[T], None], items: list[T]) -> None:
    if len(items) == 1:  # a row of a few thousand elements isn't worth a thread
        task(items[0])
        return
    for _ in in_threads(task, items):
        pass
