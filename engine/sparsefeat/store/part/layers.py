"""The layers of one part while it is being written: the encoding is chosen by measuring.

The arrays are those of AnnData's on-disk format (anndata 0.12, `anndata._io.specs`); its package
is not needed to write them.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from sparsefeat.storage import Storage
from sparsefeat.store.format import (
    CHUNK,
    COPIES_BYTES,
    COPY_BYTES,
    JSON,
    NNZ,
    SHARD,
    ArrayMetadata,
    Chain,
    Measured,
    StoredLayer,
    Values,
    compress,
    encode_chunk,
    encode_text,
    layer_key,
    shard_index,
)
from sparsefeat.store.part.encoders import (
    LinearEncoder,
    RoundedEncoder,
    SquareEncoder,
    ValueEncoder,
    square_scales,
)
from sparsefeat.system import in_threads
from sparsefeat.types import ChannelScales, Layer
from sparsefeat_kernels import (
    Csr,
    count_zeros_per_channel,
    count_zeros_per_row,
    csr_zeros_per_channel,
    csr_zeros_per_row,
    encode,
    to_dense,
    update_maxima,
)

Float32: TypeAlias = npt.NDArray[np.float32]
LayerRows: TypeAlias = Csr | Float32
"""Some rows of a layer: compressed, or float32 (rows, features)."""

SAMPLE_ROWS: Final = 8
SAMPLE_ELEMENTS: Final = 1 << 20  # enough for a good choice; block1_conv1 has 3.2 million a row

_VERSIONS: Final = {
    "anndata": "0.1.0",
    "dict": "0.1.0",
    "dataframe": "0.2.0",
    "csr_matrix": "0.1.0",
    "array": "0.2.0",
    "string-array": "0.2.0",
    "string": "0.2.0",
}


def encoding(kind: str) -> dict[str, JSON]:
    """Give the attributes by which AnnData knows what a node is."""
    return {"encoding-type": kind, "encoding-version": _VERSIONS[kind]}


def n_rows(rows: LayerRows) -> int:
    """Count rows."""
    return rows.n_rows if isinstance(rows, Csr) else len(rows)


def cut_rows(rows: LayerRows, start: int, stop: int) -> LayerRows:
    """Give consecutive rows without copying them."""
    if (start, stop) == (0, n_rows(rows)):
        return rows
    return rows.rows(start, stop) if isinstance(rows, Csr) else rows[start:stop]


class PartGroup:
    """A part's Zarr v3 group that is being written: its nodes' metadata, and files of chunks.

    The metadata of all nodes are written together, in the root's ``zarr.json``.

    Parameters
    ----------
    storage
        The store's.
    prefix
        The key of the part; its folder is made here.
    """

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage, self._prefix = storage, prefix
        self.nodes: dict[str, Mapping[str, Any]] = {}
        self.n_bytes: dict[str, int] = {}  # of each array's files
        self.copies: dict[str, bytes] = {}  # of files, for the header
        storage.make_new(prefix)

    def group(self, name: str, kind: str, attributes: Mapping[str, JSON] | None = None) -> None:
        """Create a group."""
        self.nodes[name] = group_node(kind, attributes)

    def array(self, name: str, metadata: ArrayMetadata) -> None:
        """Create an array, whose files `write` writes."""
        self.nodes[name] = metadata.to_json()

    def write(self, name: str, file: str, pieces: Iterable[bytes]) -> None:
        """Write one file of an array."""
        size = self._storage.write(f"{self._prefix}/{name}/{file}", pieces)
        self.n_bytes[name] = self.n_bytes.get(name, 0) + size

    def copy(self, file: str, content: bytes) -> None:
        """Copy a small file, or a shard's index, into the header, if there is room."""
        before = sum(map(len, self.copies.values()))
        if len(content) <= COPY_BYTES and before + len(content) <= COPIES_BYTES:
            self.copies[file] = content

    def put(self, name: str, values: npt.NDArray[Any], *, copy: bool = False) -> None:
        """Write a small array of numbers as one chunk."""
        metadata = self._whole(name, values.shape, Chain(dtype=values.dtype), "array")
        if values.size:
            chunk = np.ascontiguousarray(values).reshape(-1)
            content = encode_chunk(chunk, metadata.chain)
            self.write(name, metadata.file_name(0), [content])
            if copy:
                self.copy(f"{name}/{metadata.file_name(0)}", content)

    def put_texts(self, name: str, texts: list[str]) -> None:
        """Write a column of text as one chunk."""
        metadata = self._whole(name, (len(texts),), Chain(dtype=None), "string-array")
        if texts:
            self.write(name, metadata.file_name(0), [encode_text(np.array(texts, object))])

    def put_column(self, name: str, values: list[str] | list[int], *, text: bool) -> None:
        """Write a table's column; if all values are equal, as metadata alone."""
        same = len(set(values)) == 1
        if same and values[0]:  # "" and 0 are the fill values of other arrays
            chain = Chain(dtype=None if text else np.dtype(np.int64))
            kind = "string-array" if text else "array"
            self._whole(name, (len(values),), chain, kind, constant=values[0])
        elif text:
            self.put_texts(name, cast(list[str], values))
        else:
            self.put(name, np.array(values, np.int64))

    def _whole(
        self,
        name: str,
        shape: tuple[int, ...],
        chain: Chain,
        kind: str,
        *,
        constant: str | int | None = None,
    ) -> ArrayMetadata:
        chunk = tuple(max(1, extent) for extent in shape)
        metadata = ArrayMetadata(
            shape=shape,
            chunk=chunk,
            file=chunk,
            chain=chain,
            attributes=encoding(kind),
            constant=constant,
        )
        self.array(name, metadata)
        return metadata


def group_node(kind: str, attributes: Mapping[str, JSON] | None = None) -> dict[str, Any]:
    """Give the metadata of a group."""
    return {
        "attributes": {**encoding(kind), **(attributes or {})},
        "zarr_format": 3,
        "node_type": "group",
    }


class ArrayStream:
    """An array that grows along its first axis: collects one shard in memory, then writes it.

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
        self._attributes = attributes or {}
        row_size = width or 1
        self._tail = () if width is None else (width,)
        self._chunk_tail = () if width is None else (min(width, CHUNK),)
        self._chunks_across = 1 if width is None else math.ceil(width / min(width, CHUNK))
        self._chunk_rows = max(1, CHUNK // row_size)
        rows = max(1, SHARD // (self._chunk_rows * row_size)) * self._chunk_rows
        # The system allocates only the pages of it that are filled.
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
        """Note that `rows` rows of the memory from `room` are filled."""
        self._filled += rows
        if self._filled == len(self._buffer):
            self._flush()

    def finish(self) -> None:
        """Write what is left, and the array's metadata."""
        if self._filled:
            self._flush()
        self._group.array(self._name, self._metadata())

    def _metadata(self) -> ArrayMetadata:
        chunk = (min(self._chunk_rows, max(1, self._shard_rows)), *self._chunk_tail)
        file = (
            max(1, self._shard_rows),
            *(extent * self._chunks_across for extent in self._chunk_tail),
        )
        return ArrayMetadata(
            shape=(self._length, *self._tail),
            chunk=chunk,
            file=file,
            chain=self._chain,
            attributes=self._attributes,
        )

    def _flush(self) -> None:
        if not self._n_shards:  # a short array has short chunks
            self._chunk_rows = min(self._chunk_rows, self._filled)
            self._shard_rows = math.ceil(self._filled / self._chunk_rows) * self._chunk_rows
        shape = (self._chunk_rows, *self._chunk_tail)
        # The network's threads wait for each other: one that loses its processor to a compressor
        # holds up all, so that half the work in two threads delays them half as long.
        chunks = _chunks(self._buffer[: self._filled], shape)
        encoded = in_threads(lambda chunk: encode_chunk(chunk, self._chain), chunks)
        n_chunks = self._shard_rows // self._chunk_rows * self._chunks_across
        file = self._metadata().file_name(self._n_shards)
        pieces = encoded
        if n_chunks > 1:
            pieces = _shard(
                encoded, n_chunks, lambda index: self._group.copy(f"{self._name}/{file}", index)
            )
        self._group.write(self._name, file, pieces)
        self._length += self._filled
        self._n_shards += 1
        self._filled = 0


def _shard(
    chunks: Iterable[bytes], n_chunks: int, tell: Callable[[bytes], None]
) -> Iterator[bytes]:
    """Give a shard with room for `n_chunks`, of which the first ones exist, piece by piece.

    `tell` is called with its index, which is the last piece.
    """
    lengths = []
    for chunk in chunks:
        lengths.append(len(chunk))
        yield chunk
    index = shard_index(lengths, n_chunks)
    tell(index)
    yield index


def _chunks(rows: npt.NDArray[Any], chunk_shape: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
    """Cut rows of one or two axes into chunks, each flat and filled up with zeros, in C order.

    Examples
    --------
    >>> [chunk.tolist() for chunk in _chunks(np.array([[1, 2, 3], [4, 5, 6]]), (1, 2))]
    [[1, 2], [3, 0], [4, 5], [6, 0]]
    """
    size = math.prod(chunk_shape)
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


class CsrWriter:
    """Writes AnnData's csr_matrix: data, indices, indptr."""

    def __init__(self, group: PartGroup, layer: Layer, chain: Chain) -> None:
        self._group, self._layer = group, layer
        self.name = f"obsm/{layer_key(layer.name)}"
        self._data = ArrayStream(group, f"{self.name}/data", chain)
        columns = Chain(dtype=np.dtype(np.int32), differences=True)
        self._indices = ArrayStream(group, f"{self.name}/indices", columns)
        self._indptr = [np.zeros(1, np.int64)]

    def append(self, csr: Csr) -> None:
        """Append rows."""
        self._data.append(csr.data)
        self._indices.append(csr.indices)
        self._indptr.append(csr.indptr[1:] + self._indptr[-1][-1])

    def finish(self) -> None:
        """Write what is left."""
        indptr = np.concatenate(self._indptr)
        shape = [len(indptr) - 1, self._layer.n_features]
        self._group.group(self.name, "csr_matrix", {"shape": [*shape]})
        self._data.finish()
        self._indices.finish()
        self._group.put(f"{self.name}/indptr", indptr, copy=True)


class DenseWriter:
    """Writes AnnData's array (rows, features), and its zeros per row beside it."""

    def __init__(self, group: PartGroup, layer: Layer, chain: Chain) -> None:
        self._group = group
        self._key = layer_key(layer.name)
        self.name = f"obsm/{self._key}"
        self._array = ArrayStream(
            group, self.name, chain, width=layer.n_features, attributes=encoding("array")
        )
        self._zeros: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]

    def append(self, rows: LayerRows) -> None:
        """Append rows; -0.0 becomes 0.0."""
        start, count = 0, n_rows(rows)
        while start < count:
            room = self._array.room(count - start)
            some = cut_rows(rows, start, start + len(room))
            if not isinstance(some, Csr):
                np.add(some, np.float32(0), out=room)  # -0.0 + 0.0 = 0.0
            elif room.dtype == np.float32:
                to_dense(some, out=room)
            else:
                room[...] = to_dense(some)
            start += len(room)
            self._array.advance(len(room))
        self._zeros.append(
            csr_zeros_per_row(rows) if isinstance(rows, Csr) else count_zeros_per_row(rows)
        )

    def finish(self) -> None:
        """Write what is left."""
        self._array.finish()
        name = f"uns/sparsefeat/zeros_per_row/{self._key}"
        self._group.put(name, np.concatenate(self._zeros), copy=True)


class LayerWriter:
    """Writes one layer of one part, and counts its zeros.

    The first rows are held back and compressed both ways; the part gets the smaller encoding.

    Parameters
    ----------
    group
        The part.
    layer
        The layer.
    values
        How exactly its values are stored.
    scales
        Values may be whole multiples of these: if those of the first rows are, the part stores the
        multiples.
    encoder
        For values that are stored in another part already.
    """

    def __init__(
        self,
        group: PartGroup,
        layer: Layer,
        values: Values,
        scales: ChannelScales | None = None,
        encoder: ValueEncoder | None = None,
    ) -> None:
        self._group, self.layer = group, layer
        self._values, self._scales = values, scales
        self._maxima = np.zeros(layer.n_channels, np.float32)
        # The largest value, which 255 stands for, may come last.
        spooled = encoder is None and values.kind == "uint8"
        self._spool = _Spool(layer.n_features) if spooled else None
        self._encoder = encoder or (
            ValueEncoder() if values.kind in ("float32", "uint8") else RoundedEncoder(values)
        )
        self._sample_rows = max(1, min(SAMPLE_ROWS, SAMPLE_ELEMENTS // layer.n_features))
        self._measured = Measured(rows=0, csr_bytes=0, dense_bytes=0)
        self._writer: CsrWriter | DenseWriter | None = None
        self._zeros = np.zeros(layer.n_channels, np.int64)
        self.n_rows = 0
        self.nnz = 0
        self.n_bytes = 0  # before compression
        self._held: list[Csr] = []

    def prepare(self, rows: LayerRows, buffers: Any = None) -> LayerRows:
        """Convert rows for this layer's encoding; dense ones stay dense if possible.

        `buffers` are those of `sparsefeat_kernels.encode`.
        """
        if isinstance(rows, Csr) or (
            isinstance(self._writer, DenseWriter) and type(self._encoder) is ValueEncoder
        ):
            return rows
        return encode(rows, out=buffers)

    def n_fitting(self, rows: LayerRows) -> int:
        """Count the leading rows that the part can hold."""
        most = NNZ - self.nnz
        if not isinstance(rows, Csr):
            return min(len(rows), most // self.layer.n_features)
        count = int(np.searchsorted(rows.indptr[1:], most, side="right"))
        return min(count, self._encoder.n_fitting(rows))

    def row_bytes(self, rows: LayerRows) -> npt.NDArray[np.int64]:
        """Bytes that each row takes before compression, int64 (n,)."""
        if isinstance(self._writer, DenseWriter) or not isinstance(rows, Csr):
            return np.full(n_rows(rows), 4 * self.layer.n_features, np.int64)
        bytes_per_row: npt.NDArray[np.int64] = 8 * np.diff(rows.indptr) + 8
        return bytes_per_row

    def append(self, rows: LayerRows) -> None:
        """Append rows as `prepare` gave them; nothing of them is kept."""
        self.n_rows += n_rows(rows)
        self.n_bytes += int(self.row_bytes(rows).sum())
        if not isinstance(rows, Csr):
            zeros = count_zeros_per_channel(rows, self.layer.n_channels)
            self._zeros += zeros
            self.nnz += rows.size - int(zeros.sum())
            assert isinstance(self._writer, DenseWriter)
            self._writer.append(rows)
            return
        self._zeros += csr_zeros_per_channel(rows, self.layer.n_channels)
        self.nnz += rows.nnz
        if self._writer is not None:
            self._write(rows, self._writer)
        elif self._spool is not None:
            update_maxima(rows, self._maxima)
            self._spool.append(rows)
        else:
            held = Csr(rows.indptr.copy(), rows.indices.copy(), rows.data.copy(), rows.n_columns)
            self._held.append(held)
            if self.n_rows >= self._sample_rows:
                self._decide()

    def finish(self) -> StoredLayer:
        """Write what is left; return how the layer is stored."""
        writer = self._writer or self._decide()
        writer.finish()
        key = layer_key(self.layer.name)
        self._group.put(f"uns/sparsefeat/zeros_per_channel/{key}", self._zeros)
        if self._encoder.scales is not None:
            self._group.group("uns/sparsefeat/scales", "dict")
            self._group.put(f"uns/sparsefeat/scales/{key}", self._encoder.scales, copy=True)
        return StoredLayer(
            name=self.layer.name,
            shape=self.layer.shape,
            encoding="csr" if isinstance(writer, CsrWriter) else "dense",
            nnz=self.nnz,
            measured=self._measured,
            values=self._encoder.stored(),
        )

    def discard(self) -> None:
        """Release the rows that wait."""
        if self._spool is not None:
            self._spool.close()

    def _write(self, csr: Csr, writer: CsrWriter | DenseWriter) -> None:
        written = self._encoder.written(csr)
        self._encoder.note(csr, written)
        writer.append(written)

    def _decide(self) -> CsrWriter | DenseWriter:
        held: Iterable[Csr] = self._held
        if self._spool is not None:
            held, self._encoder = self._spool, SquareEncoder(square_scales(self._maxima))
        elif self._scales is not None and self._values.lossless and self._held:
            encoder = LinearEncoder(self._scales)
            if all(encoder.n_fitting(csr) == csr.n_rows for csr in self._held):
                self._encoder = encoder
        kind = self._smaller(held)
        writer = kind(self._group, self.layer, self._encoder.chain)
        self._writer, self.n_bytes = writer, 0
        for csr in held:
            self.n_bytes += int(self.row_bytes(csr).sum())
            self._write(csr, writer)
        self._held.clear()
        self.discard()
        return writer

    def _smaller(self, held: Iterable[Csr]) -> type[CsrWriter] | type[DenseWriter]:
        """Choose the encoding with which the first rows compress better."""
        sample: list[Csr] = []
        for csr in held:
            missing = self._sample_rows - len(sample)
            some = self._encoder.written(csr.rows(0, min(csr.n_rows, missing)))
            sample += [some.rows(row, row + 1) for row in range(some.n_rows)]
            if len(sample) == self._sample_rows:
                break
        if sample:
            # Together, as they will lie in a chunk: alone, short rows compress worse.
            stored, columns = self._encoder.chain.stored, np.dtype(np.int32)
            csr_bytes = (
                8 * len(sample)
                + _compressed(np.concatenate([row.data for row in sample]), stored)
                + _compressed(np.concatenate([row.indices for row in sample]), columns)
            )
            dense = np.concatenate([to_dense(row)[0] for row in sample])
            dense_bytes = _compressed(dense, stored)
            self._measured = Measured(
                rows=len(sample), csr_bytes=csr_bytes, dense_bytes=dense_bytes
            )
        measured = self._measured
        return DenseWriter if measured.dense_bytes < measured.csr_bytes else CsrWriter


class _Spool:
    """Rows in a temporary file, uncompressed, read back batch by batch."""

    def __init__(self, n_columns: int) -> None:
        self._n_columns = n_columns
        self._file: IO[bytes] | None = None
        self._batches: list[tuple[int, int]] = []  # rows, elements

    def append(self, csr: Csr) -> None:
        """Append rows; nothing of `csr` is kept."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # until `close`
        for array in (csr.indptr, csr.indices, csr.data):
            self._file.write(array.data)
        self._batches.append((csr.n_rows, csr.nnz))

    def __iter__(self) -> Iterator[Csr]:
        if self._file is None:
            return
        self._file.seek(0)
        for count, nnz in self._batches:
            indptr = np.frombuffer(self._file.read(8 * (count + 1)), np.int64)
            indices = np.frombuffer(self._file.read(4 * nnz), np.int32)
            values = np.frombuffer(self._file.read(4 * nnz), np.float32)
            yield Csr(indptr, indices, values, self._n_columns)

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _compressed(values: npt.NDArray[np.generic], dtype: np.dtype[np.generic]) -> int:
    """Measure elements as a store would compress them, chunk by chunk."""
    values, differences = values.astype(dtype, copy=False), dtype == np.int32
    chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
    return sum(len(compress(chunk, differences=differences)) for chunk in chunks)
