"""Reading one committed part."""

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore, StorePath

from sparsefeat.errors import StoreChangedError, StoreCorruptError, StoreError
from sparsefeat.store.codecs import quiet
from sparsefeat.store.column import read_column
from sparsefeat.store.header import Header, StoredLayer
from sparsefeat.store.layout import layer_key
from sparsefeat.store.tables import COLUMNS, INDEX, REJECTED, ROWS
from sparsefeat_kernels import Csr, encode, to_dense

T = TypeVar("T")


class Part:
    """One part: its header is read at once, everything else when asked for.

    Parameters
    ----------
    path
        Its folder.

    Raises
    ------
    StoreCorruptError
        The root's metadata are damaged or missing.
    StoreError
        The part is of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        root = self._guard("zarr.json", lambda: read_json(path / "zarr.json"))
        header = self._guard("zarr.json", lambda: root["attributes"]["sparsefeat"])
        self.header = Header.from_json(header, where=str(path))
        self.layers: dict[str, StoredLayer] = {
            stored.layer.name: stored for stored in self.header.layers
        }
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._indptr: dict[str, npt.NDArray[np.int64]] = {}

    def array(self, name: str) -> "zarr.Array[Any]":
        """Open one array by its path in the part."""
        if name not in self._arrays:
            self._arrays[name] = self._guard(name, lambda: open_array(self.path / name))
        return self._arrays[name]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Read an array, or its elements (rows) from `start` to `stop`.

        Raises
        ------
        StoreCorruptError
            A chunk is missing, or not what was written.
        """
        array = self.array(name)

        def read() -> npt.NDArray[Any]:
            require_files(self.path / name, array, start, stop)
            return np.asarray(array[start:stop] if array.ndim else array[()])

        return self._guard(name, read)

    def table(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Read a table's columns, its index among them.

        Raises
        ------
        StoreCorruptError
            A column is missing, or not what was written.
        """
        return {column: self.column(name, column) for column in (INDEX, *COLUMNS[name])}

    def column(self, table: str, column: str) -> npt.NDArray[Any]:
        """Read one column of a table; raises as `table` does."""
        name = f"{table}/{column}"
        values = self._guard(name, lambda: read_column(self.path / name))
        expected = {ROWS: self.header.rows, REJECTED: self.header.rejected}[table]
        if len(values) != expected:
            raise self._corrupt(name, f"{len(values)} lines, the header says {expected}")
        return values

    def indptr(self, layer: str) -> npt.NDArray[np.int64]:
        """Where each row's non-zeros start, int64 (rows + 1,), kept once read."""
        if layer not in self._indptr:
            self._indptr[layer] = self._read_indptr(self.layers[layer])
        return self._indptr[layer]

    def offsets(self, layer: str) -> npt.NDArray[np.int64]:
        """Where each row's stored elements start, int64 (rows + 1,)."""
        stored = self.layers[layer]
        if stored.encoding == "csr":
            return self.indptr(layer)
        return np.arange(self.header.rows + 1, dtype=np.int64) * stored.layer.n_features

    def zeros_per_channel(self, layer: str) -> npt.NDArray[np.int64]:
        """Zeros in each channel over all rows, int64 (C,)."""
        name = f"uns/sparsefeat/zeros_per_channel/{layer_key(layer)}"
        zeros: npt.NDArray[np.int64] = self.read(name)
        return zeros

    def rows(self, layer: str, start: int, stop: int) -> Csr:
        """Read rows `start` to `stop` of a layer, whatever its encoding."""
        stored = self.layers[layer]
        indptr = self.indptr(layer)[start : stop + 1]
        name = f"obsm/{layer_key(layer)}"
        if stored.encoding == "dense":
            csr = encode(self._dense(stored, start, stop))
            if not np.array_equal(csr.indptr, indptr - indptr[0]):
                raise self._corrupt(name, "its zeros are not as many as were counted")
            return csr
        indices = self._indices(stored, indptr)
        self._check_shape(f"{name}/data", (stored.nnz,))
        values = self.read(f"{name}/data", int(indptr[0]), int(indptr[-1]))
        n_columns = stored.layer.n_features
        return self._guard(name, lambda: Csr(indptr - indptr[0], indices, values, n_columns))

    def support(self, layer: str, start: int, stop: int) -> Csr:
        """Read where rows `start` to `stop` aren't zero: all values are 1.

        Of a layer stored as CSR the indices are read, and not the values.
        """
        stored = self.layers[layer]
        if stored.encoding == "dense":
            csr = self.rows(layer, start, stop)
            csr.values.fill(1)
            return csr
        indptr = self.indptr(layer)[start : stop + 1]
        indices = self._indices(stored, indptr)
        values = np.ones(len(indices), np.float32)
        n_columns = stored.layer.n_features
        name = f"obsm/{layer_key(layer)}"
        return self._guard(name, lambda: Csr(indptr - indptr[0], indices, values, n_columns))

    def dense_rows(
        self, layer: str, start: int, stop: int, out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Read rows `start` to `stop` of a layer as float32 (rows, features)."""
        stored = self.layers[layer]
        if stored.encoding == "csr":
            csr = self.rows(layer, start, stop)
            return self._guard(f"obsm/{layer_key(layer)}", lambda: to_dense(csr, out=out))
        rows = self._dense(stored, start, stop)
        if out is None:
            return rows
        out[...] = rows
        return out

    def _indices(self, stored: StoredLayer, indptr: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Read the columns of consecutive rows, which lie within bounds."""
        name, n_columns = f"obsm/{layer_key(stored.layer.name)}/indices", stored.layer.n_features
        self._check_shape(name, (stored.nnz,))
        indices: npt.NDArray[np.int32] = self.read(name, int(indptr[0]), int(indptr[-1]))
        if len(indices) and not 0 <= indices.min() <= indices.max() < n_columns:
            raise self._corrupt(name, f"columns outside 0 to {n_columns - 1}")
        return indices

    def _dense(self, stored: StoredLayer, start: int, stop: int) -> npt.NDArray[np.float32]:
        name = f"obsm/{layer_key(stored.layer.name)}"
        self._check_shape(name, (self.header.rows, stored.layer.n_features))
        rows: npt.NDArray[np.float32] = self.read(name, start, stop)
        return rows

    def _read_indptr(self, stored: StoredLayer) -> npt.NDArray[np.int64]:
        key = layer_key(stored.layer.name)
        if stored.encoding == "csr":
            name = f"obsm/{key}/indptr"
            self._check_shape(name, (self.header.rows + 1,))
            indptr: npt.NDArray[np.int64] = self.read(name)
        else:
            name = f"uns/sparsefeat/zeros_per_row/{key}"
            self._check_shape(name, (self.header.rows,))
            nnz = stored.layer.n_features - self.read(name)
            indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(nnz)])
        if (
            indptr.shape != (self.header.rows + 1,)
            or indptr[0] != 0
            or indptr[-1] != stored.nnz
            or (np.diff(indptr) < 0).any()
        ):
            raise self._corrupt(name, "its counts contradict the header")
        return indptr

    def _check_shape(self, name: str, expected: tuple[int, ...]) -> None:
        """Compare with the header before memory is allocated for what the array claims to be."""
        if self.array(name).shape != expected:
            what = f"shape {self.array(name).shape}, the header says {expected}"
            raise self._corrupt(name, what)

    def _guard(self, name: str, read: Callable[[], T]) -> T:
        """Run what zarr, its codecs or JSON may trip over, and say where it did."""
        try:
            return read()
        except (StoreError, MemoryError):
            raise
        except Exception as exc:
            # Damaged metadata and damaged chunks raise nearly every kind of exception.
            raise self._corrupt(name, f"{type(exc).__name__}: {exc}") from exc

    def _corrupt(self, name: str, what: str) -> StoreError:
        if not self.path.is_dir():  # removed in one step, so nothing else is wrong
            return StoreChangedError(
                f"{self.path} has gone, as the store was compacted since it was opened, "
                "expected it to stay: open it again"
            )
        return StoreCorruptError(
            f"{self.path / name} is damaged ({what}), expected what was written: "
            "see sparsefeat verify, and extract these pictures again"
        )


def read_json(path: Path) -> Any:
    """Read a JSON document; NaN and infinities, which JSON hasn't, are errors."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(path.read_bytes(), parse_constant=refuse)


def open_array(folder: Path) -> "zarr.Array[Any]":
    """Open an array of a part without the warning that each Delta codec gives."""
    node = read_json(folder / "zarr.json")
    node["codecs"] = quiet(node["codecs"])
    metadata = ArrayV3Metadata.from_dict(node)
    store_path = StorePath(LocalStore(folder, read_only=True))
    array = zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=store_path))
    if 0 in (*array.chunks, *(array.shards or ())):
        raise ValueError("chunks without extent")
    return array


def chunk_files(array: "zarr.Array[Any]", start: int = 0, stop: int | None = None) -> Iterator[str]:
    """Name the files that rows `start` to `stop` of an array lie in, relative to it."""
    if not array.ndim:
        yield "c"
        return
    extents = array.shards or array.chunks
    first, last, _ = slice(start, stop).indices(array.shape[0])
    rows = range(first // extents[0], -(-last // extents[0]) if last > first else 0)
    columns = [range(-(-n // m)) for n, m in zip(array.shape[1:], extents[1:], strict=True)]
    for place in product(rows, *columns):
        yield "/".join(["c", *map(str, place)])


def require_files(
    folder: Path, array: "zarr.Array[Any]", start: int = 0, stop: int | None = None
) -> None:
    """See that no file is missing: zarr would take it for zeros.

    Raises
    ------
    FileNotFoundError
        One is.
    """
    for name in chunk_files(array, start, stop):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{name} is missing")
