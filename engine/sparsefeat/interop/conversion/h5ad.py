"""Writes a store as an h5ad file: AnnData's encoding in HDF5.

anndata writes everything except the matrices, which are compressed in several threads and written
chunk by chunk; see ADR 004.
"""

import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.interop.conversion.output import Sink
from sparsefeat.interop.conversion.reader import StoreReader
from sparsefeat.store import encoding, layer_key
from sparsefeat.system import available_threads
from sparsefeat.types import Layer

if TYPE_CHECKING:
    import h5py
    import pandas as pd

NEEDS: tuple[str, ...] = ("h5py",)
EMPTY = ("layers", "varm", "obsp", "varp")  # AnnData expects these groups
CHUNK = 1 << 17  # elements; two chunks fit HDF5's default cache
LEVEL = 1
GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": LEVEL, "shuffle": True}
"""Filters that every HDF5 library has: shuffled bytes, and gzip with its checksum (Adler-32)."""


def write(source: StoreReader, path: Path) -> dict[str, int]:
    """Write the file; return the bytes of each layer.

    Raises
    ------
    InputError
        A text contains a NUL, which HDF5 can't store.
    """
    import h5py
    from anndata.io import write_elem

    _refuse_nul(source.obs, source.rejected)
    sizes = {}
    with (
        ThreadPoolExecutor(available_threads(), thread_name_prefix="sparsefeat-gzip") as pool,
        Sink(path) as sink,
        h5py.File(sink, "w") as file,
    ):
        file.attrs.update(encoding("anndata"))
        write_elem(file, "obs", source.obs)
        write_elem(file, "var", source.obs.iloc[:0, :0])
        # With backed="r", AnnData requires an X.
        write_elem(file, "X", np.empty((source.n_rows, 0), np.float32))
        uns = {"header": source.header(), "rejected": source.rejected}
        write_elem(file, "uns", {"sparsefeat": uns})
        for name in ("obsm", *EMPTY):
            write_elem(file, name, {})
        for layer in source.layers:
            writer = _dense if source.is_dense(layer.name) else _csr
            sizes[layer.name] = writer(source, layer, file["obsm"], pool, sink)
    return sizes


def _csr(
    source: StoreReader, layer: Layer, obsm: "h5py.Group", pool: ThreadPoolExecutor, sink: Sink
) -> int:
    name = layer.name
    group = obsm.create_group(layer_key(name))
    group.attrs.update(encoding("csr_matrix"))
    group.attrs["shape"] = np.array([source.n_rows, layer.n_features], np.int64)
    indptr = source.indptr(name)
    group.create_dataset("indptr", data=indptr, chunks=(min(len(indptr), 1 << 16),), **GZIP)
    nnz = (int(indptr[-1]),)
    data, indices = (
        ArrayStream(group, array, nnz, dtype, pool)
        for array, dtype in (("data", "<f4"), ("indices", "<i4"))
    )
    for start, stop in source.stretches(name):
        csr = source.csr(name, start, stop)
        data.append(csr.data)
        indices.append(csr.indices)
        sink.check()
        source.wrote(name, start, stop)
    data.finish()
    indices.finish()
    sink.check()
    return data.n_bytes + indices.n_bytes + int(group["indptr"].id.get_storage_size())


def _dense(
    source: StoreReader, layer: Layer, obsm: "h5py.Group", pool: ThreadPoolExecutor, sink: Sink
) -> int:
    name, shape = layer.name, (source.n_rows, layer.n_features)
    array = ArrayStream(obsm, layer_key(name), shape, "<f4", pool)
    array.dataset.attrs.update(encoding("array"))
    for start, stop in source.stretches(name):
        array.append(source.dense(name, start, stop))
        sink.check()
        source.wrote(name, start, stop)
    array.finish()
    sink.check()
    return array.n_bytes


def _refuse_nul(*tables: "pd.DataFrame") -> None:
    for table in tables:
        for name, column in table.reset_index().items():
            odd = next((text for text in column if isinstance(text, str) and "\0" in text), None)
            if odd is not None:
                raise InputError(
                    f"{name} {odd!r} contains a NUL, which h5ad can't store: convert to parquet"
                )


class ArrayStream:
    """An array of an HDF5 file, whose chunks several threads compress; HDF5 would use one.

    Parameters
    ----------
    group, name
        The group and the name of the array.
    shape
        (n,) or (n, width).
    dtype
        A type of 4 bytes, little-endian.
    pool
        The threads.
    """

    def __init__(
        self,
        group: "h5py.Group",
        name: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._width, self._pool = int(np.prod(shape[1:])), pool
        self._rows = max(1, min(CHUNK // self._width, shape[0]))
        self.dataset = group.create_dataset(
            name,
            shape,
            dtype,
            maxshape=(None, *shape[1:]),
            chunks=(self._rows, *shape[1:]),
            **GZIP,
        )
        self._chunk = np.zeros(self._rows * self._width, dtype)
        self._filled = self._n_chunks = 0

    def append(self, values: npt.NDArray[Any]) -> None:
        """Append elements, in C order."""
        values = values.reshape(-1)
        size = len(self._chunk)
        room = size - self._filled
        full = []
        self._chunk[self._filled : self._filled + room][: len(values)] = values[:room]
        self._filled += min(room, len(values))
        if self._filled == size:
            rest = len(values) - room
            full = [self._chunk]
            full += [values[room + start :][:size] for start in range(0, rest - size + 1, size)]
            self._filled = rest % size
            self._chunk = np.zeros(size, self._chunk.dtype)
            self._chunk[: self._filled] = values[len(values) - self._filled :]
        self._write(full)

    def finish(self) -> None:
        """Write the last chunk, padded with zeros."""
        if self._filled:
            self._write([self._chunk])

    @property
    def n_bytes(self) -> int:
        """Bytes written."""
        return int(self.dataset.id.get_storage_size())

    def _write(self, chunks: list[npt.NDArray[Any]]) -> None:
        for compressed in self._pool.map(compress, chunks):
            offset = (self._n_chunks * self._rows, *(0 for _ in self.dataset.shape[1:]))
            self.dataset.id.write_direct_chunk(offset, compressed)
            self._n_chunks += 1


def compress(chunk: npt.NDArray[Any]) -> bytes:
    """Compress a chunk as HDF5's filters shuffle and gzip do."""
    shuffled = chunk.view(np.uint8).reshape(-1, chunk.itemsize).T
    return zlib.compress(np.ascontiguousarray(shuffled).data, LEVEL)
