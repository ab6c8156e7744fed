"""One part while it is being written, under a temporary name."""

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.store.bounds import CHUNK_ELEMENTS, NNZ
from sparsefeat.store.durable import sync, sync_tree
from sparsefeat.store.forms import Form
from sparsefeat.store.group import PartGroup
from sparsefeat.store.header import Header, Origin, StoredLayer
from sparsefeat.store.json_fields import JSON
from sparsefeat.store.layer_writer import LayerWriter
from sparsefeat.store.layout import part_name, temporary_name
from sparsefeat.store.ranges import NO_NUMBERS, Ranges
from sparsefeat.store.tables import REJECTED, ROWS, write_table
from sparsefeat.store.values import Values
from sparsefeat.types import ChannelSteps, Layer, Reject, Row
from sparsefeat_kernels import Csr

NNZ_PER_PART = NNZ
REJECTS_PER_PART = 1 << 16

MOST_BYTES = 1 << 62


@dataclass(frozen=True, kw_only=True)
class PartLimits:
    """When a part is full: so many rows, or so many bytes before compression.

    Raises
    ------
    InputError
        Either is less than 1, or more than a part can have.
    """

    rows: int
    n_bytes: int

    def __post_init__(self) -> None:
        if not (0 < self.rows < CHUNK_ELEMENTS and 0 < self.n_bytes <= MOST_BYTES):
            raise InputError(
                f"got {self.rows} rows and {self.n_bytes} bytes a part, expected 1 to "
                f"{CHUNK_ELEMENTS - 1} rows and 1 to {MOST_BYTES} bytes: change them"
            )


class PartWriter:
    """Collects rows and rejects; `commit` makes a part of them.

    Parameters
    ----------
    folder
        The store's folder.
    number
        The part's.
    layers
        What every row has.
    limits
        When it is full.
    values
        How exactly values are kept.
    steps
        Of layers whose values may be whole numbers of them.
    forms
        Of layers whose values have a form already, as `kept_form` gives them.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        layers: Sequence[Layer],
        limits: PartLimits,
        values: Values,
        steps: Mapping[str, ChannelSteps] | None = None,
        forms: Mapping[str, Form] | None = None,
    ) -> None:
        self._folder, self._number, self._limits = folder, number, limits
        self._group = PartGroup(folder / temporary_name(number, secrets.token_hex(4)))
        self._values = values
        steps, forms = steps or {}, forms or {}
        self._layers = {
            layer.name: LayerWriter(
                self._group, layer, values, steps.get(layer.name), forms.get(layer.name)
            )
            for layer in layers
        }
        self._names = [layer.name for layer in layers]
        self._stored: dict[str, StoredLayer] = {}
        self._rows: list[Row] = []
        self._rejects: list[Reject] = []

    @property
    def n_bytes(self) -> int:
        """Bytes of the rows so far, before compression."""
        return sum(layer.n_bytes for layer in self._layers.values())

    @property
    def full(self) -> bool:
        """Whether it is time to commit."""
        return (
            len(self._rows) >= self._limits.rows
            or len(self._rejects) >= REJECTS_PER_PART
            or self.n_bytes >= self._limits.n_bytes
        )

    def room(self, layers: Mapping[str, Csr]) -> int:
        """Count how many of the rows still fit; a part without rows takes one in any case."""
        fits = self._limits.rows - len(self._rows)
        n_bytes = np.zeros(next(iter(layers.values())).n_rows, np.int64)
        for name, writer in self._layers.items():
            csr = layers[name]
            fits = min(fits, _count_within(csr.indptr[1:], NNZ_PER_PART - writer.nnz))
            fits = min(fits, writer.n_fitting(csr.rows(0, max(0, fits))))
            n_bytes += writer.row_bytes(csr)
        fits = min(fits, _count_within(np.cumsum(n_bytes), self._limits.n_bytes - self.n_bytes))
        return fits if self._rows else max(1, fits)

    def misfits(self, layers: Mapping[str, Csr]) -> set[str]:
        """Name the layers of which the first of the rows isn't in the part's form."""
        return {
            name
            for name, writer in self._layers.items()
            if not writer.n_fitting(layers[name].rows(0, 1))
        }

    def append(self, rows: Sequence[Row], layers: Mapping[str, Csr]) -> None:
        """Append rows that there is room for."""
        for name, csr in layers.items():
            self.append_layer(name, csr)
        self.append_pictures(rows)

    def append_layer(self, name: str, csr: Csr) -> None:
        """Append rows of one layer; every layer must have as many of them in the end."""
        self._layers[name].append(csr)

    def finish_layer(self, name: str) -> None:
        """Write what is left of a layer that gets no more rows, and free its memory."""
        self._stored[name] = self._layers.pop(name).finish()

    def append_pictures(self, rows: Sequence[Row]) -> None:
        """Append the records of as many rows."""
        self._rows += rows

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Append rejects."""
        self._rejects += rejects

    def commit(
        self,
        settings: dict[str, JSON],
        provenance: dict[str, JSON],
        *,
        origins: Sequence[Origin] = (),
        replaces: Ranges = NO_NUMBERS,
    ) -> Header:
        """Write what is left, see it safely onto the disk, and give it its name.

        From then on it is read, and the parts that it replaces are not.
        """
        group = self._group
        for name in ("obsm", "varm", "obsp", "varp", "layers", "uns", "uns/sparsefeat"):
            group.group(name, "dict")
        group.group("uns/sparsefeat/zeros_per_channel", "dict")
        group.group("uns/sparsefeat/zeros_per_row", "dict")
        for name in [*self._layers]:
            self.finish_layer(name)
        write_table(group, ROWS, self._rows)
        write_table(group, REJECTED, self._rejects)
        group.group("var", "dataframe", {"_index": "_index", "column-order": []})
        group.put_texts("var/_index", [])
        header = Header(
            rows=len(self._rows),
            rejected=len(self._rejects),
            layers=tuple(self._stored[name] for name in self._names),
            settings=settings,
            provenance=provenance,
            replaces=replaces,
            origins=tuple(origins),
            values=str(self._values),
        )
        as_json = header.to_json()
        group.put_text("uns/sparsefeat/header", json.dumps(as_json))
        group.group("", "anndata", {"sparsefeat": as_json})
        group.consolidate()
        sync_tree(group.path)
        group.path.rename(self._folder / part_name(self._number))
        sync(self._folder)
        return header

    def discard(self) -> None:
        """Remove what was written, as far as possible."""
        shutil.rmtree(self._group.path, ignore_errors=True)


def _count_within(totals: npt.NDArray[np.int64], limit: int) -> int:
    return int(np.searchsorted(totals, limit, side="right"))
