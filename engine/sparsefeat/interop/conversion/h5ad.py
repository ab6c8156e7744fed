"""A store as an h5ad file: AnnData's encoding in HDF5.

The encodings are those of AnnData's on-disk format (anndata 0.12, `anndata._io.specs`), the same
as a part's in Zarr; its package is not needed to write them.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparsefeat.errors import InputError
from sparsefeat.interop.conversion.hdf5 import GZIP, ArrayStream
from sparsefeat.interop.conversion.sink import Sink
from sparsefeat.interop.conversion.source import Source
from sparsefeat.store import encoding, layer_key
from sparsefeat.system.threads import available_threads
from sparsefeat.types import Layer

if TYPE_CHECKING:
    import h5py
    import pandas as pd

NEEDS: tuple[str, ...] = ("h5py",)
EMPTY = ("layers", "varm", "obsp", "varp")  # what AnnData expects, and a store has nothing for


def write(source: Source, path: Path) -> dict[str, int]:
    """Write the file; return the bytes that each layer takes.

    Raises
    ------
    InputError
        A text holds a NUL, which ends texts in HDF5.
    """
    import h5py

    sizes = {}
    with (
        ThreadPoolExecutor(available_threads(), thread_name_prefix="sparsefeat-gzip") as pool,
        Sink(path) as sink,
        h5py.File(sink, "w") as file,
    ):
        file.attrs.update(encoding("anndata"))
        groups = {name: _group(file, name) for name in ("obsm", "uns", *EMPTY)}
        _table(file, "obs", source.obs)
        _table(file, "var", source.obs.iloc[:0, :0])
        # Opened with backed="r", AnnData insists on an X.
        file.create_dataset("X", (source.n_rows, 0), "<f4").attrs.update(encoding("array"))
        uns = _group(groups["uns"], "sparsefeat")
        _text(uns, "header", source.header())
        _table(uns, "rejected", source.rejected)
        for layer in source.layers:
            writer = _dense if source.is_dense(layer.name) else _csr
            sizes[layer.name] = writer(source, layer, groups["obsm"], pool, sink)
    return sizes


def _csr(
    source: Source, layer: Layer, obsm: "h5py.Group", pool: ThreadPoolExecutor, sink: Sink
) -> int:
    name = layer.name
    group = _group(obsm, layer_key(name), "csr_matrix")
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
    source: Source, layer: Layer, obsm: "h5py.Group", pool: ThreadPoolExecutor, sink: Sink
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


def _group(parent: "h5py.Group", name: str, kind: str = "dict") -> "h5py.Group":
    group = parent.create_group(name)
    group.attrs.update(encoding(kind))
    return group


def _table(parent: "h5py.Group", name: str, table: "pd.DataFrame") -> None:
    import h5py

    group = _group(parent, name, "dataframe")
    group.attrs["_index"] = "_index"
    group.attrs["column-order"] = np.array([*table.columns], dtype=h5py.string_dtype())
    _texts(group, "_index", [*table.index])
    for column in table.columns:
        if table[column].dtype == np.int64:
            values = table[column].to_numpy()
            group.create_dataset(column, data=values).attrs.update(encoding("array"))
        else:
            _texts(group, column, [*table[column]])


def _texts(group: "h5py.Group", name: str, texts: list[str]) -> None:
    import h5py

    odd = next((text for text in texts if "\0" in text), None)
    if odd is not None:
        raise InputError(f"{name} {odd!r} holds a NUL, expected none in h5ad: convert to parquet")
    values = np.array(texts, object)
    dataset = group.create_dataset(name, (len(texts),), h5py.string_dtype(), data=values)
    dataset.attrs.update(encoding("string-array"))


def _text(group: "h5py.Group", name: str, text: str) -> None:
    import h5py

    dataset = group.create_dataset(name, data=text, dtype=h5py.string_dtype())
    dataset.attrs.update(encoding("string"))
