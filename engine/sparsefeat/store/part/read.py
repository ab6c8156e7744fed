"""Reading one part."""

import errno
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from sparsefeat.errors import StoreChangedError, StoreCorruptError, StoreError, StoreReadError
from sparsefeat.storage import Storage
from sparsefeat.store.format import (
    JSON_BYTES,
    ArrayMetadata,
    Header,
    PartEntry,
    StoredLayer,
    Utf8,
    checksum,
    layer_key,
    part_key,
    read_extra,
    read_header,
)
from sparsefeat.store.part.array import (
    Segments,
    StoredArray,
    expand_rows,
    scale_rows,
    scale_stretches,
)
from sparsefeat.store.part.tables import COLUMNS, EXTRA, REJECTED, ROWS
from sparsefeat.system import one_line, overlapped
from sparsefeat.types import NO_EXTRA
from sparsefeat_kernels import Csr, encode

T = TypeVar("T")

# Errors that a damaged or malicious part can cause. Other errors come from the system: a
# permission, a drive, a network.
_OF_PART: Final = (
    *(None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL),
    *(errno.ENAMETOOLONG, errno.ENXIO, errno.EOVERFLOW),
)


def read_refusal(name: str, exc: BaseException) -> StoreReadError | None:
    """Make the error for a read that the system refused; None if `exc` is another error."""
    if not isinstance(exc, OSError) or exc.errno in _OF_PART:
        return None
    return StoreReadError(
        f"{name} can't be read: {exc.strerror}: see to the permission, the drive or the network, "
        "and run the same command again"
    )


def open_parts(storage: Storage, entries: Iterable[PartEntry]) -> "list[Part]":
    """Open parts, in a bucket several at once; raises as `Part` does."""
    return [*overlapped(partial(Part, storage), entries, storage.reads_at_once)]


class _Attributes(msgspec.Struct):
    sparsefeat: msgspec.Raw


class _Consolidated(msgspec.Struct):
    metadata: dict[str, msgspec.Raw]


class _Node(msgspec.Struct):
    node_type: str


class _Root(msgspec.Struct):
    attributes: _Attributes
    consolidated_metadata: _Consolidated


class Part:
    """One part: its header is read immediately, everything else on request.

    Parameters
    ----------
    storage
        The store's.
    entry
        The part, as a snapshot lists it.
    copies
        Whether to use the copies of files in the header. On a disk they are never used.

    Raises
    ------
    StoreCorruptError
        The metadata are damaged or missing.
    StoreReadError
        The system refused to read them.
    StoreChangedError
        The part was deleted by `vacuum`.
    StoreError
        The part is of a newer format.
    """

    def __init__(self, storage: Storage, entry: PartEntry, *, copies: bool = True) -> None:
        self.storage, self.entry = storage, entry
        self.key = part_key(entry.name)
        root = self._guard("zarr.json", self._read_root)
        self.header: Header = read_header(
            bytes(root.attributes.sparsefeat), where=storage.name(self.key)
        )
        self._nodes = root.consolidated_metadata.metadata
        self.layers: dict[str, StoredLayer] = {stored.name: stored for stored in self.header.layers}
        self._check_entry()
        self._copies: dict[str, dict[str, bytes]] = {}
        if copies and storage.reads_at_once > 1:
            for file, content in self.header.copies.items():
                name, _, inner = file.rpartition("/")
                self._copies.setdefault(name, {})[inner] = content
        self._arrays: dict[str, StoredArray] = {}
        self._indptr: dict[str, npt.NDArray[np.int64]] = {}
        self._scales: dict[str, npt.NDArray[np.float32]] = {}

    def __repr__(self) -> str:
        return f"Part({self.storage.name(self.key)!r})"

    def _read_root(self) -> _Root:
        content = self.storage.read(f"{self.key}/zarr.json", JSON_BYTES)
        if checksum(content) != self.entry.crc32c:
            raise ValueError("its checksum is not the one that the snapshot has")
        return msgspec.json.decode(content, type=_Root)

    def _check_entry(self) -> None:
        header, entry = self.header, self.entry
        told = (header.rows, header.rejected, [(s.encoding, s.nnz) for s in header.layers])
        if told != (entry.rows, entry.rejected, [(s.encoding, s.nnz) for s in entry.layers]):
            raise self._corrupt("zarr.json", "its rows and layers are not those of the snapshot")

    @property
    def kept(self) -> npt.NDArray[np.int64] | None:
        """Numbers of the rows that are not excluded, int64 (n,), ascending; None for all."""
        if not self.entry.excluded:
            return None
        counts = np.ones(self.entry.rows, np.bool_)
        for start, stop in self.entry.excluded:
            counts[start:stop] = False
        return np.flatnonzero(counts)

    def array(self, name: str) -> StoredArray:
        """Open one array by its path in the part."""
        if name not in self._arrays:
            self._arrays[name] = self._guard(name, lambda: self._open(name))
        return self._arrays[name]

    def _open(self, name: str) -> StoredArray:
        metadata = ArrayMetadata.parse(bytes(self._nodes[name]))
        return StoredArray(self.storage, f"{self.key}/{name}", metadata, self._copies.get(name))

    def files(self, most: int) -> Iterator[str]:
        """Name the files of its arrays, at most `most` of each."""
        for name, node in self._nodes.items():
            if msgspec.json.decode(node, type=_Node).node_type == "array":
                yield from (f"{name}/{file}" for file in islice(self.array(name).files(), most))

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Read an array, or its elements (rows) from `start` to `stop`.

        Raises
        ------
        StoreCorruptError
            A chunk is missing, or not what was written.
        """
        array = self.array(name)
        return self._guard(name, lambda: array.read(start, stop))

    def column(self, table: str, column: str) -> npt.NDArray[Any]:
        """Read one column of a table, or its index.

        Raises
        ------
        StoreCorruptError
            It is missing, or not what was written.
        """
        name, expected = f"{table}/{column}", self._table_rows(table)
        if not expected:  # a part without rejects has no table of them
            return np.empty(0, np.int64 if COLUMNS[table].get(column) is int else object)
        if column == EXTRA and name not in self._nodes:
            nothing = np.empty(expected, object)
            nothing.fill(NO_EXTRA)
            return nothing
        self._check(name, (expected,), np.int64 if COLUMNS[table].get(column) is int else object)
        return self.read(name)

    def utf8(self, table: str, column: str) -> Utf8:
        """Read one column of text, without Python strings if possible; raises as `column` does."""
        name, expected = f"{table}/{column}", self._table_rows(table)
        if not expected:
            return Utf8.of(np.empty(0, object))
        array = self._check(name, (expected,), object)
        return self._guard(name, array.read_utf8)

    def _table_rows(self, table: str) -> int:
        return {ROWS: self.header.rows, REJECTED: self.header.rejected}[table]

    def extra(self) -> list[dict[str, Any]] | None:
        """Read the extra columns of each row; None if there are none.

        Raises
        ------
        StoreCorruptError
            It is not what was written.
        """
        name = f"{ROWS}/{EXTRA}"
        if name not in self._nodes:
            return None
        texts = self.column(ROWS, EXTRA).tolist()
        return self._guard(name, lambda: [*map(read_extra, texts)])

    def text(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Read text, and check its shape; raises as `read` does."""
        self._check(name, shape, object)
        return self.read(name)

    def indptr(self, layer: str) -> npt.NDArray[np.int64]:
        """Where each row's non-zeros start, int64 (rows + 1,); cached."""
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

    def scales(self, layer: str) -> npt.NDArray[np.float32]:
        """Give the scale of each channel's codes, float32 (C,); cached.

        Raises
        ------
        StoreCorruptError
            They are missing, not what was written, or not positive numbers.
        """
        if layer not in self._scales:
            name = f"uns/sparsefeat/scales/{layer_key(layer)}"
            self._check(name, (self.layers[layer].layer.n_channels,), np.float32)
            scales: npt.NDArray[np.float32] = self.read(name)
            if not (np.isfinite(scales) & (scales > 0)).all():
                raise self._corrupt(name, "scales that are not positive numbers")
            self._scales[layer] = scales
        return self._scales[layer]

    def rows(self, layer: str, start: int, stop: int) -> Csr:
        """Read rows `start` to `stop` of a layer, whatever its encoding."""
        return self.some_rows(layer, np.arange(start, stop))

    def some_rows(self, layer: str, rows: npt.NDArray[np.int64]) -> Csr:
        """Read rows of a layer, ascending, repeated or not, whatever its encoding."""
        stored = self.layers[layer]
        starts = self.indptr(layer)
        indptr = np.append(0, np.cumsum(starts[rows + 1] - starts[rows]))
        slots = np.arange(len(rows))
        if stored.encoding == "dense":
            dense = np.empty((len(rows), stored.layer.n_features), np.float32)
            self.gather_dense(layer, rows, slots, dense)
            csr = encode(dense)
            if not np.array_equal(csr.indptr, indptr):
                name = f"obsm/{layer_key(layer)}"
                raise self._corrupt(name, "its zeros are not as many as were counted")
            return csr
        values = np.empty(indptr[-1], np.float32)
        indices = np.empty(indptr[-1], np.int32)
        self.gather_csr(layer, rows, slots, indptr, indices, values)
        return Csr(indptr, indices, values, stored.layer.n_features)

    def support(self, layer: str, start: int, stop: int) -> Csr:
        """Read which elements of rows `start` to `stop` aren't zero: all values are 1.

        If the layer is stored as CSR, its indices are read, but not its values.
        """
        stored = self.layers[layer]
        if stored.encoding == "dense":
            csr = self.rows(layer, start, stop)
            csr.data.fill(1)
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
        slots: npt.NDArray[np.int64],
        out: npt.NDArray[np.float32],
    ) -> None:
        """Copy rows of a layer stored as CSR, ascending, to their slots in dense ones.

        Raises
        ------
        StoreCorruptError
            What is on disk is not what was written.
        """
        csr = self.some_rows(layer, rows)
        self._guard(f"obsm/{layer_key(layer)}", lambda: expand_rows(csr, slots, out))

    def gather_csr(
        self,
        layer: str,
        rows: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
        indptr: npt.NDArray[Any],
        indices: npt.NDArray[Any],
        values: npt.NDArray[np.float32],
    ) -> None:
        """Copy rows of a layer stored as CSR to where they are wanted.

        Parameters
        ----------
        layer
            Its name.
        rows, slots
            Wanted rows, ascending, and the slot of each in the result.
        indptr
            Where the elements of each slot start in `indices` and `values`, which are filled.

        Raises
        ------
        StoreCorruptError
            What is on disk is not what was written.
        """
        stored = self.layers[layer]
        segments = Segments.rows(rows, self.indptr(layer), indptr, slots)
        name = f"obsm/{layer_key(layer)}/data"
        array = self._check(name, (stored.nnz,), stored.dtype)
        both: list[Callable[[], None]] = [
            lambda: self._gather_indices(stored, segments, indices),
            lambda: self._guard(name, lambda: array.gather(segments, values)),
        ]
        for _ in overlapped(lambda read: read(), both, min(2, self.storage.reads_at_once)):
            pass
        if stored.companding is not None:
            scale_stretches(
                segments, values, indices, self.scales(layer), squared=stored.companding == "square"
            )

    def gather_dense(
        self,
        layer: str,
        rows: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
        out: npt.NDArray[np.float32],
    ) -> None:
        """Copy rows of a layer stored dense to where they are wanted in `out` (slots, features).

        Raises
        ------
        StoreCorruptError
            What is on disk is not what was written.
        """
        stored = self.layers[layer]
        name, n_features = f"obsm/{layer_key(layer)}", stored.layer.n_features
        array = self._check(name, (self.header.rows, n_features), stored.dtype)
        starts = np.arange(max(self.header.rows, len(out)) + 1) * n_features
        segments = Segments.rows(rows, starts, starts, slots)
        self._guard(name, lambda: array.gather(segments, out.reshape(-1)))
        if stored.companding is not None:
            scale_rows(slots, out, self.scales(layer), squared=stored.companding == "square")

    def _gather_indices(
        self, stored: StoredLayer, segments: Segments, out: npt.NDArray[Any]
    ) -> None:
        """Copy ranges of a layer's column numbers, and check their bounds."""
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
        """Compare an array with the header before memory is allocated for its claimed size."""
        array = self.array(name)
        got, expected = (array.shape, array.metadata.dtype), (shape, np.dtype(dtype))
        if got != expected:
            raise self._corrupt(
                name, f"shape {got[0]} of {got[1]}, the header says {expected[0]} of {expected[1]}"
            )
        return array

    def _guard(self, name: str, read: Callable[[], T]) -> T:
        """Run a read; translate errors of files, codecs and JSON, and say where they occurred."""
        try:
            return read()
        except (StoreError, MemoryError):
            raise
        except Exception as exc:
            if refused := read_refusal(self.storage.name(f"{self.key}/{name}"), exc):
                raise refused from exc
            # Damaged metadata and damaged chunks raise nearly every kind of exception.
            raise self._corrupt(name, f"{type(exc).__name__}: {exc}") from exc

    def _corrupt(self, name: str, what: str) -> StoreError:
        if not self.storage.exists(self.key):  # it is deleted in one step, so nothing else is wrong
            return StoreChangedError(
                f"{self.storage.name(self.key)} is not there any more: if sparsefeat vacuum "
                "deleted it, open the store again; otherwise see sparsefeat verify"
            )
        return StoreCorruptError(
            f"{self.storage.name(f'{self.key}/{name}')} is damaged ({one_line(what)}): run "
            "sparsefeat verify, and extract these images again"
        )
