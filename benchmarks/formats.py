"""Sparse rows on disk: sparsefeat's store, and other file formats.

Each format is written with `write` and read through `opened`. All give float32 and int32, rows in
the requested order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from scipy.sparse import csr_array, load_npz, save_npz

import sparsefeat
from sparsefeat.store import StoreWriter
from sparsefeat.types import Batch, Layer, Row
from sparsefeat_kernels import Csr

Float32 = NDArray[np.float32]
Numbers = NDArray[np.int64]
# Quoted, because the lowest allowed scipy has no subscripts at run time.
Matrix: TypeAlias = "csr_array[np.float32]"

BATCH = 8  # rows that an extraction appends together
ROWS_PER_GROUP = 64  # of a Parquet file
CHUNK = 1 << 18  # elements of an HDF5 file that are compressed together
CACHE = 64 << 20  # bytes of its cache of chunks; the default is less than two chunks


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A matrix on disk, opened for reading."""

    csr: Callable[[], Matrix]
    dense: Callable[[], Float32]
    rows: Callable[[Numbers], Matrix]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of a matrix: a function that writes it to a path, and one that opens it."""

    write: Callable[[Matrix, Path, Layer], None]
    opened: Callable[[Path, Layer], Opened]


def write_store(matrix: Matrix, path: Path, layer: Layer) -> None:
    writer = StoreWriter.open(path, layers=[layer], settings={}, provenance={})
    with writer:
        for start in range(0, matrix.shape[0], BATCH):
            rows = matrix[start : start + BATCH]
            csr = Csr(rows.indptr.astype(np.int64), rows.indices, rows.data, matrix.shape[1])
            records = tuple(_record(start + row) for row in range(csr.n_rows))
            writer.append(Batch(rows=records, layers={layer.name: csr}))


def _record(number: int) -> Row:
    return Row(
        path=f"{number:06}.jpg",
        root="/photos",
        label="",
        bytes=100_000 + number,
        mtime_ns=number,
        sha256=f"{number:064x}",
        width=800,
        height=600,
        format="JPEG",
    )


def open_store(path: Path, layer: Layer) -> Opened:
    store = sparsefeat.open(path)
    return Opened(
        csr=lambda: store[layer.name].to_scipy(),
        dense=lambda: store[layer.name].to_numpy().reshape(-1, layer.n_features),
        rows=lambda numbers: store[layer.name][numbers],
    )


def _hdf5(options: dict[str, Any]) -> Format:
    """CSR arrays in HDF5; rows are read as slices of them."""

    def write(matrix: Matrix, path: Path, layer: Layer) -> None:
        chunks = {"chunks": (min(CHUNK, matrix.nnz),)} if options else {}
        with h5py.File(path, "w") as file:
            for name in ("data", "indices"):
                file.create_dataset(name, data=getattr(matrix, name), **options, **chunks)
            file["indptr"] = matrix.indptr

    def opened(path: Path, layer: Layer) -> Opened:
        file = h5py.File(path, rdcc_nbytes=CACHE)
        # Opened once, because the caches of chunks belong to the open data sets.
        data, indices, indptr = file["data"], file["indices"], file["indptr"][:]

        def csr() -> Matrix:
            return _matrix(data[:], indices[:], indptr, layer)

        def rows(numbers: Numbers) -> Matrix:
            slices = [slice(indptr[number], indptr[number + 1]) for number in numbers]
            return _joined([(data[piece], indices[piece]) for piece in slices], layer)

        return Opened(csr=csr, dense=lambda: csr().toarray(), rows=rows)

    return Format(write=write, opened=opened)


def _npz() -> Format:
    def opened(path: Path, layer: Layer) -> Opened:
        def csr() -> Matrix:
            return csr_array(load_npz(path))

        return Opened(csr=csr, dense=lambda: csr().toarray(), rows=lambda numbers: csr()[numbers])

    return Format(write=lambda matrix, path, layer: save_npz(path, matrix), opened=opened)


def _dense_npz() -> Format:
    """One dense array, as features are often saved."""

    def write(matrix: Matrix, path: Path, layer: Layer) -> None:
        np.savez(path, features=matrix.toarray())

    def opened(path: Path, layer: Layer) -> Opened:
        def dense() -> Float32:
            with np.load(path) as file:
                features: Float32 = file["features"]
            return features

        return Opened(
            csr=lambda: csr_array(dense()),
            dense=dense,
            rows=lambda numbers: csr_array(dense()[numbers]),
        )

    return Format(write=write, opened=opened)


def _parquet() -> Format:
    """A list of indices and a list of values for each row."""

    def write(matrix: Matrix, path: Path, layer: Layer) -> None:
        offsets = pyarrow.array(matrix.indptr.astype(np.int32))
        table = pyarrow.table(
            {
                name: pyarrow.ListArray.from_arrays(offsets, pyarrow.array(values))
                for name, values in (("indices", matrix.indices), ("values", matrix.data))
            }
        )
        pyarrow.parquet.write_table(
            table,
            path,
            row_group_size=ROWS_PER_GROUP,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            column_encoding={
                "indices.list.element": "DELTA_BINARY_PACKED",
                "values.list.element": "BYTE_STREAM_SPLIT",
            },
        )

    def opened(path: Path, layer: Layer) -> Opened:
        file = pyarrow.parquet.ParquetFile(path)

        def pieces(table: Any) -> tuple[Any, Any, Any]:
            table = table.combine_chunks()
            indices, values = (table[name].chunk(0) for name in ("indices", "values"))
            arrays = (values.flatten(), indices.flatten(), indices.offsets)
            data, columns, offsets = (array.to_numpy() for array in arrays)
            return data, columns, offsets - offsets[0]

        def csr() -> Matrix:
            return _matrix(*pieces(file.read()), layer)

        def rows(numbers: Numbers) -> Matrix:
            groups, positions = np.divmod(numbers, ROWS_PER_GROUP)
            wanted: dict[int, Any] = dict.fromkeys(range(len(numbers)))
            for group in np.unique(groups):
                data, columns, offsets = pieces(file.read_row_group(int(group)))
                for index in np.flatnonzero(groups == group):
                    piece = slice(offsets[positions[index]], offsets[positions[index] + 1])
                    wanted[int(index)] = (data[piece], columns[piece])
            return _joined(list(wanted.values()), layer)

        return Opened(csr=csr, dense=lambda: csr().toarray(), rows=rows)

    return Format(write=write, opened=opened)


def _matrix(data: Any, indices: Any, indptr: Any, layer: Layer) -> Matrix:
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, layer.n_features))


def _joined(rows: list[tuple[Any, Any]], layer: Layer) -> Matrix:
    indptr = np.cumsum([0, *(len(data) for data, _ in rows)], dtype=np.int32)
    data = np.concatenate([data for data, _ in rows])
    return _matrix(data, np.concatenate([indices for _, indices in rows]), indptr, layer)


FORMATS = {
    "sparsefeat": Format(write=write_store, opened=open_store),
    "hdf5-raw": _hdf5({}),
    "hdf5-gzip": _hdf5({"compression": "gzip", "compression_opts": 4, "shuffle": True}),
    "scipy-npz": _npz(),
    "numpy-npz-dense": _dense_npz(),
    "parquet": _parquet(),
}


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
