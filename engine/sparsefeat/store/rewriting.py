"""Writing the rows of several parts into a new one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import StoreCorruptError, StoreError
from sparsefeat.store.bounds import CHUNK_ELEMENTS
from sparsefeat.store.forms import Form
from sparsefeat.store.header import Origin
from sparsefeat.store.kept_forms import kept_form
from sparsefeat.store.layout import SHARD, next_number, part_name
from sparsefeat.store.packing import Source
from sparsefeat.store.part import Part
from sparsefeat.store.part_writer import PartLimits, PartWriter
from sparsefeat.store.ranges import NO_NUMBERS, Ranges
from sparsefeat.store.selection import spans
from sparsefeat.store.tables import COLUMNS, REJECTED, ROWS
from sparsefeat.store.values import Values
from sparsefeat.types import Reject, Row

T = TypeVar("T")

_UNLIMITED = PartLimits(rows=CHUNK_ELEMENTS - 1, n_bytes=1 << 62)  # who made the group has looked


def write_group(
    folder: Path,
    group: Sequence[Source],
    *,
    replaces: Ranges = NO_NUMBERS,
    wrote: Callable[[int], None] = lambda n_elements: None,
) -> Path:
    """Write what is kept of some parts into one new part, and commit it; needs the lock.

    Layer by layer, some 100 MB of it in memory at a time. Encodings are chosen anew; the form of
    values stays.

    Parameters
    ----------
    folder
        The store that gets the part.
    group
        Parts that agree in layers and settings, and in the form of their values.
    replaces
        The numbers of parts that the new one takes the place of.
    wrote
        Called with the number of stored elements of each stretch that was appended.

    Returns
    -------
    The new part.
    """
    # Opened anew: what reading keeps of them goes with the group.
    group = [replace(source, part=Part(source.part.path)) for source in group]
    first = group[0].part.header
    layers = [stored.layer for stored in first.layers]
    number = next_number(folder)
    part = PartWriter(
        folder,
        number,
        layers,
        _UNLIMITED,
        Values.parse(first.values),
        forms={layer.name: _form(group, layer.name) for layer in layers},
    )
    try:
        for layer in layers:
            for source in group:
                for start, stop in _stretches(source.part, layer.name, source.rows):
                    wrote(_copy(source.part, layer.name, start, stop, part))
            part.finish_layer(layer.name)
        for source in group:
            part.append_pictures(_records(source.part, ROWS, Row, source.rows))
            part.reject(_records(source.part, REJECTED, Reject, source.rejects))
        origins = _origins(group)
        part.commit(
            first.settings,
            origins[0].provenance if len(origins) == 1 else {},
            origins=origins if len(origins) > 1 else (),
            replaces=replaces,
        )
    except BaseException:
        part.discard()
        raise
    return folder / part_name(number)


class RowCounter:
    """Tells how many rows are written, reckoned from their elements: layers differ in size.

    Parameters
    ----------
    sources
        All that is to be written.
    progress
        Called with the number of rows and their total.
    """

    def __init__(
        self, sources: Iterable[Source], progress: Callable[[int, int], None] | None
    ) -> None:
        self._progress = progress
        self._rows = self._elements = self._done = 0
        for source in sources:
            self._rows += len(source.rows)
            self._elements += sum(stored.nnz for stored in source.part.layers.values())

    def add(self, n_elements: int) -> None:
        """Count stored elements that were written."""
        self._done += n_elements
        if self._progress is not None and self._elements:
            self._progress(self._rows * self._done // self._elements, self._rows)


def _form(group: Sequence[Source], layer: str) -> Form:
    form = kept_form([source.part for source in group], layer)
    assert form is not None  # `pack` has looked
    return form


def _stretches(part: Part, layer: str, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut wanted rows into stretches without the others."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    for run in runs:  # one by one, for a stretch would bridge rows without elements
        yield from spans(run, part.offsets(layer), gap=0, most=SHARD)


def _copy(source: Part, layer: str, start: int, stop: int, target: PartWriter) -> int:
    try:
        csr = source.rows(layer, start, stop)
        target.append_layer(layer, csr)
    except StoreError:
        raise
    except ValueError as exc:  # the kernels check the indices' order as they go
        raise StoreCorruptError(
            f"{source.path}, {layer} can't be copied ({exc}), expected what was written: "
            "see sparsefeat verify"
        ) from exc
    return csr.nnz


def _records(
    part: Part, table: str, record: Callable[..., T], lines: Sequence[int] | npt.NDArray[np.int64]
) -> list[T]:
    columns = {name: part.column(table, name)[lines].tolist() for name in COLUMNS[table]}
    return [
        record(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


def _origins(group: Sequence[Source]) -> list[Origin]:
    """Say how the rows were made, neighbours that were made alike together."""
    origins: list[Origin] = []
    for source in group:
        bounds = np.cumsum([origin.rows for origin in source.part.header.all_origins()])
        counts = np.diff(np.searchsorted(source.rows, bounds), prepend=0).tolist()
        for origin, rows in zip(source.part.header.all_origins(), counts, strict=True):
            if origins and origins[-1].provenance == origin.provenance:
                origins[-1] = Origin(rows=origins[-1].rows + rows, provenance=origin.provenance)
            elif rows or not len(source.rows):
                origins.append(Origin(rows=rows, provenance=origin.provenance))
    return origins
