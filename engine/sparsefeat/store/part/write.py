"""One part while it is being written; it belongs to the store once a snapshot lists it."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.storage import Storage
from sparsefeat.store.format import (
    CHUNK_ELEMENTS,
    FORMAT,
    JSON,
    JSON_BYTES,
    Header,
    Origin,
    PartEntry,
    PartLayer,
    StoredLayer,
    Values,
    checksum,
    part_key,
)
from sparsefeat.store.part.encoders import ValueEncoder
from sparsefeat.store.part.layers import (
    LayerRows,
    LayerWriter,
    PartGroup,
    cut_rows,
    group_node,
    n_rows,
)
from sparsefeat.store.part.tables import COLUMNS, EXTRA, INDEX, REJECTED, ROWS, row_id
from sparsefeat.types import NO_EXTRA, ChannelScales, Layer, Reject, Row

REJECTS_PER_PART: Final = 1 << 16
MAX_BYTES: Final = 1 << 62


@dataclass(frozen=True, kw_only=True)
class PartLimits:
    """When a part is full: its number of rows, or of bytes before compression.

    Raises
    ------
    InputError
        Either is less than 1, or more than a part can have.
    """

    rows: int
    n_bytes: int

    def __post_init__(self) -> None:
        if not (0 < self.rows < CHUNK_ELEMENTS and 0 < self.n_bytes <= MAX_BYTES):
            raise InputError(
                f"got {self.rows} rows and {self.n_bytes} bytes a part, expected 1 to "
                f"{CHUNK_ELEMENTS - 1} rows and 1 to {MAX_BYTES} bytes: change them"
            )


class PartWriter:
    """Collects rows and rejects; `finish` completes the part on the disk.

    Parameters
    ----------
    storage
        The store's.
    layers
        The layers of every row.
    limits
        When the part is full.
    values
        How exactly values are stored.
    scales
        Scales of layers whose values may be whole multiples of them.
    encoders
        Encoders, from `common_encoder`, of layers whose values are stored in other parts already.
    """

    def __init__(
        self,
        storage: Storage,
        layers: Sequence[Layer],
        limits: PartLimits,
        values: Values,
        scales: Mapping[str, ChannelScales] | None = None,
        encoders: Mapping[str, ValueEncoder] | None = None,
    ) -> None:
        self.name = secrets.token_hex(8)
        self._storage, self._limits, self._values = storage, limits, values
        self._group = PartGroup(storage, part_key(self.name))
        scales, encoders = scales or {}, encoders or {}
        self._layers = {
            layer.name: LayerWriter(
                self._group, layer, values, scales.get(layer.name), encoders.get(layer.name)
            )
            for layer in layers
        }
        self._names = [layer.name for layer in layers]
        self._stored: dict[str, StoredLayer] = {}
        self.rows: list[Row] = []
        self.rejects: list[Reject] = []

    @property
    def n_bytes(self) -> int:
        """Bytes of the rows so far, before compression."""
        return sum(layer.n_bytes for layer in self._layers.values())

    @property
    def full(self) -> bool:
        """Whether it is time to commit."""
        return (
            len(self.rows) >= self._limits.rows
            or len(self.rejects) >= REJECTS_PER_PART
            or self.n_bytes >= self._limits.n_bytes
        )

    def prepare(self, name: str, rows: LayerRows, buffers: Any = None) -> LayerRows:
        """Convert rows for a layer's encoding: see `LayerWriter.prepare`."""
        return self._layers[name].prepare(rows, buffers)

    def room(self, layers: Mapping[str, LayerRows]) -> int:
        """Count the prepared rows that fit; a part without rows always accepts one."""
        fits = self._limits.rows - len(self.rows)
        n_bytes: npt.NDArray[np.int64] = np.zeros(n_rows(next(iter(layers.values()))), np.int64)
        for name, writer in self._layers.items():
            rows = layers[name]
            fits = min(fits, writer.n_fitting(rows))
            n_bytes += writer.row_bytes(rows)
        left = self._limits.n_bytes - self.n_bytes
        fits = min(fits, int(np.searchsorted(np.cumsum(n_bytes), left, side="right")))
        return fits if self.rows else max(1, fits)

    def misfits(self, layers: Mapping[str, LayerRows]) -> set[str]:
        """Name the layers whose first row can't be stored as the part stores values."""
        return {
            name
            for name, writer in self._layers.items()
            if not writer.n_fitting(cut_rows(layers[name], 0, 1))
        }

    def append(self, rows: Sequence[Row], layers: Mapping[str, LayerRows]) -> None:
        """Append prepared rows that there is room for."""
        for name, some in layers.items():
            self.append_layer(name, some)
        self.append_records(rows)

    def append_layer(self, name: str, rows: LayerRows) -> None:
        """Append rows of one layer; every layer must have as many of them in the end."""
        self._layers[name].append(rows)

    def finish_layer(self, name: str) -> None:
        """Write what is left of a layer that gets no more rows, and free its memory."""
        self._stored[name] = self._layers.pop(name).finish()

    def append_records(self, rows: Sequence[Row]) -> None:
        """Append the records of the rows that `append_layer` appends."""
        self.rows += rows

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Append rejects."""
        self.rejects += rejects

    def finish(
        self,
        settings: dict[str, JSON],
        provenance: dict[str, JSON],
        *,
        origins: Sequence[Origin] = (),
    ) -> tuple[PartEntry, Header]:
        """Write what is left, and make the whole part durable.

        Returns
        -------
        The part's entry for a snapshot, and its header. Nobody reads the part before one lists it.
        """
        group = self._group
        for name in ("obsm", "varm", "obsp", "varp", "layers", "uns", "uns/sparsefeat"):
            group.group(name, "dict")
        group.group("uns/sparsefeat/zeros_per_channel", "dict")
        for name in [*self._layers]:
            self.finish_layer(name)
        if any(stored.encoding == "dense" for stored in self._stored.values()):
            group.group("uns/sparsefeat/zeros_per_row", "dict")
        _write_table(group, ROWS, self.rows)
        if self.rejects:
            _write_table(group, REJECTED, self.rejects)
        group.group("var", "dataframe", {"_index": "_index", "column-order": []})
        group.put_texts("var/_index", [])
        header = Header(
            format=FORMAT,
            rows=len(self.rows),
            rejected=len(self.rejects),
            layers=tuple(self._stored[name] for name in self._names),
            settings=settings,
            provenance=provenance,
            origins=tuple(origins),
            values=str(self._values),
            copies=group.copies,
        )
        root = self._root(header)
        key = part_key(self.name)
        self._storage.write(f"{key}/zarr.json", [root])
        self._storage.sync(key)
        entry = PartEntry(
            name=self.name,
            rows=header.rows,
            rejected=header.rejected,
            n_bytes=len(root) + sum(group.n_bytes.values()),
            crc32c=checksum(root),
            layers=tuple(self._listed(stored) for stored in header.layers),
        )
        return entry, header

    def discard(self) -> None:
        """Remove what was written, as far as possible."""
        for layer in self._layers.values():
            layer.discard()
        with suppress(OSError):
            self._storage.delete(part_key(self.name))

    def _root(self, header: Header) -> bytes:
        """Make ``zarr.json``: the metadata of all nodes, where Zarr and AnnData look for them."""
        nodes = {name: self._group.nodes[name] for name in sorted(self._group.nodes)}
        copies = {"kind": "inline", "must_understand": False, "metadata": nodes}
        root = group_node("anndata", {"sparsefeat": msgspec.to_builtins(header)})
        document = msgspec.json.encode({**root, "consolidated_metadata": copies})
        if len(document) > JSON_BYTES:
            raise InputError(
                f"the metadata of a part take {len(document):,} bytes, expected at most "
                f"{JSON_BYTES:,}: name fewer layers, or keep less of settings and provenance"
            )
        return document

    def _listed(self, stored: StoredLayer) -> PartLayer:
        key = f"obsm/{stored.name.replace('/', '.')}"
        n_bytes = self._group.n_bytes
        return PartLayer(
            encoding=stored.encoding,
            nnz=stored.nnz,
            n_bytes=sum(n_bytes.get(f"{key}{inner}", 0) for inner in _ARRAYS),
            form=stored.form,
        )


_ARRAYS: Final = ("", "/data", "/indices", "/indptr")


def _write_table(group: PartGroup, name: str, records: Sequence[Row] | Sequence[Reject]) -> None:
    """Write one table in AnnData's dataframe encoding."""
    columns = {
        column: kind
        for column, kind in COLUMNS[name].items()
        if column != EXTRA or any(record.extra != NO_EXTRA for record in records)  # type: ignore[union-attr]
    }
    attributes: dict[str, JSON] = {INDEX: INDEX, "column-order": [*columns]}
    group.group(name, "dataframe", {**attributes})
    group.put_texts(f"{name}/{INDEX}", [row_id(record) for record in records])
    for column, kind in columns.items():
        values = [getattr(record, column) for record in records]
        group.put_column(f"{name}/{column}", values, text=kind is not int)
