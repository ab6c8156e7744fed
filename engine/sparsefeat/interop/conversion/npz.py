"""Writes a store as scipy's npz files: a folder with one for each layer, or one file."""

import csv
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparsefeat.interop.conversion.output import Sink
from sparsefeat.interop.conversion.reader import StoreReader
from sparsefeat.store import layer_key
from sparsefeat.types import Layer

if TYPE_CHECKING:
    import pandas as pd

NEEDS: tuple[str, ...] = ()
SUFFIX = ".npz"
LEVEL = 1  # higher levels take much longer and save half a per cent
LINES = 10_000  # lines of a table that are written at once


def write(source: StoreReader, path: Path) -> dict[str, int]:
    """Write into an existing folder, or one file; return the bytes of each layer.

    The tables and the header become files of the folder, or members of the one file, which
    `scipy.sparse.load_npz` ignores.
    """
    source.read_times(2)
    if not path.is_dir():
        (layer,) = source.layers
        return {layer.name: _write_layer(source, layer, path, _tables(source))}
    for name, pieces in _tables(source):
        with Sink(path / name) as sink:
            for piece in pieces:
                sink.write(piece)
    return {
        layer.name: _write_layer(source, layer, path / f"{layer_key(layer.name)}{SUFFIX}")
        for layer in source.layers
    }


def made_here(names: set[str]) -> bool:
    """Return whether `write` made a folder, judging by its file names."""
    others = names - {"obs.csv", "rejected.csv", "header.json"}
    return len(names - others) == 3 and all(name.endswith(SUFFIX) for name in others)


Texts = Iterable[tuple[str, Iterable[bytes]]]


def _write_layer(source: StoreReader, layer: Layer, path: Path, tables: Texts = ()) -> int:
    name = layer.name
    indptr = source.indptr(name)
    nnz, shape = (int(indptr[-1]),), np.array([source.n_rows, layer.n_features], np.int64)
    with (
        Sink(path) as sink,
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive,
    ):
        # The order is that of scipy.sparse.save_npz. Members of a zip are written one after the
        # other, so the rows are read twice: for the indices and for the values.
        _write_array(archive, "indices", np.dtype("<i4"), nnz, _read(source, name, 1))
        _put(archive, "indptr", indptr)
        _put(archive, "format", np.array(b"csr"))
        _put(archive, "shape", shape)
        _put(archive, "_is_array", np.array(True))
        _write_array(archive, "data", np.dtype("<f4"), nnz, _read(source, name, 0))
        for member, pieces in tables:
            with archive.open(member, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)
        sink.check()
    return path.stat().st_size


def _read(source: StoreReader, layer: str, which: int) -> Iterator[npt.NDArray[Any]]:
    for start, stop in source.stretches(layer):
        csr = source.csr(layer, start, stop)
        yield (csr.data, csr.indices)[which]
        source.wrote(layer, start, stop)


def _put(archive: zipfile.ZipFile, name: str, array: npt.NDArray[Any]) -> None:
    _write_array(archive, name, array.dtype, array.shape, [array.reshape(-1)])


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    pieces: Iterable[npt.NDArray[Any]],
) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in pieces:
            file.write(piece.astype(dtype, copy=False).data)


def _tables(source: StoreReader) -> Texts:
    yield "obs.csv", _csv(source.obs)
    yield "rejected.csv", _csv(source.rejected)
    yield "header.json", [source.header().encode()]


def _csv(table: "pd.DataFrame") -> Iterator[bytes]:
    for start in range(0, max(1, len(table)), LINES):
        lines = table.iloc[start : start + LINES]
        # All texts in quotes: before Python 3.13, csv doesn't quote a lone CR, which ends a line.
        text: str = lines.to_csv(
            index_label="row_id",
            header=not start,
            lineterminator="\n",
            quoting=csv.QUOTE_NONNUMERIC,
        )
        yield text.encode()
