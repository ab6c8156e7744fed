"""Which parts are written together into one."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt

from sparsefeat.store.bounds import JSON_BYTES
from sparsefeat.store.header import Header
from sparsefeat.store.kept import first_rows, standing_rejects
from sparsefeat.store.part import Part
from sparsefeat.store.part_writer import NNZ_PER_PART, REJECTS_PER_PART, PartLimits

ORIGIN_BYTES_PER_PART: Final = JSON_BYTES // 4  # of the header, which has more besides


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """A part, and what of it is kept: row numbers, int64 (n,), and lines of its rejects."""

    part: Part
    rows: npt.NDArray[np.int64]
    rejects: list[int]

    @property
    def duplicates(self) -> int:
        """Rows that are not kept."""
        return self.part.header.rows - len(self.rows)

    @property
    def resolved(self) -> int:
        """Rejects that are not kept."""
        return self.part.header.rejected - len(self.rejects)

    @property
    def n_bytes(self) -> int:
        """Bytes of the kept rows before compression, about."""
        header = self.part.header
        return part_bytes(header) * len(self.rows) // max(1, header.rows)


def read_sources(parts: Sequence[Part]) -> list[Source]:
    """Find out what of each part is kept."""
    kept = zip(parts, first_rows(parts), standing_rejects(parts), strict=True)
    return [Source(part=part, rows=rows, rejects=rejects) for part, rows, rejects in kept]


def part_bytes(header: Header) -> int:
    """Count a part's bytes before compression, as its writer did."""
    return sum(
        8 * stored.nnz + 8 * header.rows
        if stored.encoding == "csr"
        else 4 * stored.layer.n_features * header.rows
        for stored in header.layers
    )


def is_small(source: Source, limits: PartLimits) -> bool:
    """Tell whether a part is less than half as large as it may be."""
    return 2 * len(source.rows) < limits.rows and 2 * source.n_bytes < limits.n_bytes


def pack(sources: Iterable[Source], limits: PartLimits) -> Iterator[list[Source]]:
    """Cut parts in a row into groups that fit one part each, without a value being changed.

    No part is split: one that is over the limits by itself has a group of its own. Parts whose
    values are codes with other steps, or kept otherwise, are never in one group.
    """
    for _, alike in groupby(sources, lambda source: _form(source.part)):
        group: list[Source] = []
        sizes = np.zeros(0, np.int64)
        for source in alike:
            size = _sizes(source)
            most = np.full_like(size, NNZ_PER_PART)
            most[:4] = limits.rows, limits.n_bytes, REJECTS_PER_PART, ORIGIN_BYTES_PER_PART
            if group and (sizes + size > most).any():
                yield group
                group = []
            sizes = sizes + size if group else size
            group.append(source)
        yield group


def _form(part: Part) -> list[tuple[object, ...]]:
    """Give what parts must agree in for `kept_form` to find one."""
    form: list[tuple[object, ...]] = []
    for name, stored in part.layers.items():
        values = stored.values
        steps = b""
        if stored.law is not None:
            # Of a part opened for this, so that not the steps of all are kept.
            steps = blake2b(Part(part.path).steps(name).tobytes()).digest()
        form.append(() if values is None else (values.kind, values.bits, values.law, steps))
    return form


def _sizes(source: Source) -> npt.NDArray[np.int64]:
    """Give what is limited: rows, bytes, rejects, bytes of origins, and the nnz of each layer."""
    counts = len(source.rows), source.n_bytes, len(source.rejects)
    origins = len(json.dumps([each.to_json() for each in source.part.header.all_origins()]))
    nnz = (stored.nnz for stored in source.part.layers.values())
    return np.array([*counts, origins, *nnz], np.int64)
