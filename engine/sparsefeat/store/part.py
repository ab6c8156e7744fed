"""Reading one committed part."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import StoreChangedError, StoreCorruptError, StoreError
from sparsefeat.one_line import one_line
from sparsefeat.store.decoding import expand_rows, scale_rows, scale_stretches
from sparsefeat.store.header import Header, StoredLayer
from sparsefeat.store.json_file import parse_json, read_json
from sparsefeat.store.layout import folder_bytes, layer_key
from sparsefeat.store.regular_file import read_refusal, refuse_links
from sparsefeat.store.segments import Segments
from sparsefeat.store.stored_array import StoredArray
from sparsefeat.store.tables import COLUMNS, INDEX, REJECTED, ROWS
from sparsefeat_kernels import Csr, encode

T = TypeVar("T")

HEADER = "uns/sparsefeat/header"


class Part:
    """One part: its header is read at once, everything else when asked for.

    Parameters
    ----------
    path
        Its folder.
    confirm
        Compare the header with its copy before anything else is read.

    Raises
    ------
    StoreCorruptError
        The root's metadata are damaged or missing.
    StoreError
        The part is of a newer format.
    """

    def __init__(self, path: Path, *, confirm: bool = True) -> None:
        self.path = path
        self._confirmed = not confirm
        root = self._guard("zarr.json", lambda: read_json(path / "zarr.json"))
        header = self._guard("zarr.json", lambda: root["attributes"]["sparsefeat"])
        self.header = Header.from_json(header, where=str(path))
        self._header = header
        self.layers: dict[str, StoredLayer] = {
            stored.layer.name: stored for stored in self.header.layers
        }
        self._arrays: dict[str, StoredArray] = {}
        self._indptr: dict[str, npt.NDArray[np.int64]] = {}
        self._steps: dict[str, npt.NDArray[np.float32]] = {}

    def array(self, name: str) -> StoredArray:
        """Open one array by its path in the part."""
        if name not in self._arrays:
            if name != HEADER:
                self.confirm()
            self._arrays[name] = self._guard(name, lambda: self._open(name))
        return self._arrays[name]

    def confirm(self) -> None:
        """Compare the header with its copy, so that no flipped bit of it goes unnoticed.

        Raises
        ------
        StoreCorruptError
            They differ, or one can't be read.
        """
        if not self._confirmed:
            if not self.header_is_its_copy():
                raise self._corrupt(HEADER, "it is not the header in zarr.json")
            self._confirmed = True

    def header_is_its_copy(self) -> bool:
        """Tell whether the two headers say the same; raises as `read` does."""
        copy = self.text(HEADER, ())
        return bool(self._guard(HEADER, lambda: parse_json(str(copy))) == self._header)

    def _open(self, name: str) -> StoredArray:
        refuse_links(self.path, name)
        return StoredArray(self.path / name)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Read an array, or its elements (rows) from `start` to `stop`.

        Raises
        ------
        StoreCorruptError
            A chunk is missing, or not what was written.
        """
        array = self.array(name)
        return self._guard(name, lambda: array.read(start, stop))

    def n_bytes(self, name: str = "") -> int:
        """Add up the sizes of a node's files, and of those below; "" is the whole part.

        Raises
        ------
        StoreChangedError
            The part has gone meanwhile.
        """
        total = self._guard(name, lambda: folder_bytes(self.path / name))
        if is_gone(self.path):
            raise part_gone(self.path)
        return total

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
        expected = {ROWS: self.header.rows, REJECTED: self.header.rejected}[table]
        self._check(name, (expected,), np.int64 if COLUMNS[table].get(column) is int else object)
        return self.read(name)

    def text(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Read text of the shape that it should have; raises as `read` does."""
        self._check(name, shape, object)
        return self.read(name)

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
        stored = self.layers[layer]
        self._check(name, (stored.layer.n_channels,), np.int64)
        zeros: npt.NDArray[np.int64] = self.read(name)
        n_elements = self.header.rows * stored.layer.n_features
        if not 0 <= zeros.min() <= zeros.max() <= n_elements // stored.layer.n_channels:
            raise self._corrupt(name, "its counts contradict the header")
        return zeros

    def steps(self, layer: str) -> npt.NDArray[np.float32]:
        """Give what each channel's codes are counted in, float32 (C,), kept once read.

        Raises
        ------
        StoreCorruptError
            They are missing, not what was written, or not positive numbers.
        """
        if layer not in self._steps:
            name = f"uns/sparsefeat/steps/{layer_key(layer)}"
            self._check(name, (self.layers[layer].layer.n_channels,), np.float32)
            steps: npt.NDArray[np.float32] = self.read(name)
            if not (np.isfinite(steps) & (steps > 0)).all():
                raise self._corrupt(name, "steps that are no positive numbers")
            self._steps[layer] = steps
        return self._steps[layer]

    def rows(self, layer: str, start: int, stop: int) -> Csr:
        """Read rows `start` to `stop` of a layer, whatever its encoding."""
        return self.some_rows(layer, np.arange(start, stop))

    def some_rows(self, layer: str, rows: npt.NDArray[np.int64]) -> Csr:
        """Read rows of a layer, ascending, repeated or not, whatever its encoding."""
        stored = self.layers[layer]
        starts = self.indptr(layer)
        indptr = np.append(0, np.cumsum(starts[rows + 1] - starts[rows]))
        places = np.arange(len(rows))
        if stored.encoding == "dense":
            dense = np.empty((len(rows), stored.layer.n_features), np.float32)
            self.gather_dense(layer, rows, places, dense)
            csr = encode(dense)
            if not np.array_equal(csr.indptr, indptr):
                name = f"obsm/{layer_key(layer)}"
                raise self._corrupt(name, "its zeros are not as many as were counted")
            return csr
        values = np.empty(indptr[-1], np.float32)
        indices = np.empty(indptr[-1], np.int32)
        self.gather_csr(layer, rows, places, indptr, indices, values)
        return Csr(indptr, indices, values, stored.layer.n_features)

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
        indices = np.empty(indptr[-1] - indptr[0], np.int32)
        self._gather_indices(stored, Segments.whole(int(indptr[0]), int(indptr[-1])), indices)
        values = np.ones(len(indices), np.float32)
        return Csr(indptr - indptr[0], indices, values, stored.layer.n_features)

    def expand(
        self,
        layer: str,
        rows: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
        out: npt.NDArray[np.float32],
    ) -> None:
        """Copy rows of a layer stored as CSR, ascending, to their places in dense ones.

        Raises
        ------
        StoreCorruptError
            What is on disk is not what was written.
        """
        csr = self.some_rows(layer, rows)
        self._guard(f"obsm/{layer_key(layer)}", lambda: expand_rows(csr, places, out))

    def gather_csr(
        self,
        layer: str,
        rows: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
        indptr: npt.NDArray[Any],
        indices: npt.NDArray[Any],
        values: npt.NDArray[np.float32],
    ) -> None:
        """Copy rows of a layer stored as CSR to where they are wanted.

        Parameters
        ----------
        layer
            Its name.
        rows, places
            Wanted rows, ascending, and the place of each in the result.
        indptr
            Where each place's elements start in `indices` and `values`, which are filled there.

        Raises
        ------
        StoreCorruptError
            What is on disk is not what was written.
        """
        stored = self.layers[layer]
        segments = Segments.rows(rows, self.indptr(layer), indptr, places)
        self._gather_indices(stored, segments, indices)
        name = f"obsm/{layer_key(layer)}/data"
        array = self._check(name, (stored.nnz,), stored.dtype)
        self._guard(name, lambda: array.gather(segments, values))
        if stored.law is not None:
            scale_stretches(
                segments, values, indices, self.steps(layer), squared=stored.law == "square"
            )

    def gather_dense(
        self,
        layer: str,
        rows: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
        out: npt.NDArray[np.float32],
    ) -> None:
        """Copy rows of a layer stored dense to where they are wanted in `out` (places, features).

        Raises
        ------
        StoreCorruptError
            What is on disk is not what was written.
        """
        stored = self.layers[layer]
        name, n_features = f"obsm/{layer_key(layer)}", stored.layer.n_features
        array = self._check(name, (self.header.rows, n_features), stored.dtype)
        starts = np.arange(max(self.header.rows, len(out)) + 1) * n_features
        segments = Segments.rows(rows, starts, starts, places)
        self._guard(name, lambda: array.gather(segments, out.reshape(-1)))
        if stored.law is not None:
            scale_rows(places, out, self.steps(layer), squared=stored.law == "square")

    def _gather_indices(
        self, stored: StoredLayer, segments: Segments, out: npt.NDArray[Any]
    ) -> None:
        """Copy stretches of a layer's column numbers, which lie within bounds."""
        name, n_columns = f"obsm/{layer_key(stored.layer.name)}/indices", stored.layer.n_features

        def check(indices: npt.NDArray[Any]) -> None:
            if len(indices) and not 0 <= indices.min() <= indices.max() < n_columns:
                raise ValueError(f"columns outside 0 to {n_columns - 1}")

        array = self._check(name, (stored.nnz,), np.int32)
        self._guard(name, lambda: array.gather(segments, out, check))

    def _read_indptr(self, stored: StoredLayer) -> npt.NDArray[np.int64]:
        key = layer_key(stored.layer.name)
        if stored.encoding == "csr":
            name = f"obsm/{key}/indptr"
            self._check(name, (self.header.rows + 1,), np.int64)
            indptr: npt.NDArray[np.int64] = self.read(name)
        else:
            name = f"uns/sparsefeat/zeros_per_row/{key}"
            self._check(name, (self.header.rows,), np.int64)
            zeros = np.clip(self.read(name), -1, stored.layer.n_features + 1)
            indptr = np.append(0, np.cumsum(stored.layer.n_features - zeros))
        # Compared, not subtracted, until it is known to grow: differences could overflow.
        if (
            indptr[0] != 0
            or indptr[-1] != stored.nnz
            or (indptr[1:] < indptr[:-1]).any()
            or (np.diff(indptr) > stored.layer.n_features).any()
        ):
            raise self._corrupt(name, "its counts contradict the header")
        return indptr

    def _check(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> StoredArray:
        """Compare with the header before memory is allocated for what the array claims to be."""
        array = self.array(name)
        got, expected = (array.shape, array.metadata.dtype), (shape, np.dtype(dtype))
        if got != expected:
            raise self._corrupt(
                name, f"shape {got[0]} of {got[1]}, the header says {expected[0]} of {expected[1]}"
            )
        return array

    def _guard(self, name: str, read: Callable[[], T]) -> T:
        """Run what files, codecs or JSON may trip over, and say where it did."""
        try:
            return read()
        except (StoreError, MemoryError):
            raise
        except Exception as exc:
            if refused := read_refusal(self.path / name, exc):
                raise refused from exc
            # Damaged metadata and damaged chunks raise nearly every kind of exception.
            raise self._corrupt(name, f"{type(exc).__name__}: {exc}") from exc

    def _corrupt(self, name: str, what: str) -> StoreError:
        if is_gone(self.path):  # it goes in one step, so nothing else is wrong
            return part_gone(self.path)
        return StoreCorruptError(
            f"{self.path / name} is damaged ({one_line(what)}), expected what was written: "
            "see sparsefeat verify, and extract these pictures again"
        )


def is_gone(path: Path) -> bool:
    """Tell whether a part isn't there any more; one that may not be looked at is.

    A link that leads nowhere is there, and damaged.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def part_gone(path: Path) -> StoreChangedError:
    """Say that a part was there and isn't any more."""
    return StoreChangedError(
        f"{path} has gone, as the store was compacted since it was opened, expected it to stay: "
        "open it again"
    )
