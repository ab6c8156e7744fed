"""What layers take: in memory, as they are stored, and what they could take."""

from collections.abc import Sequence
from dataclasses import dataclass

from sparsefeat.store import JSON, Store, info
from sparsefeat.viz.report.floor import Floor, estimate_floor


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """Bytes of one layer, all rows.

    `dense` is float32, 4 bytes an element; `csr` float32 values, int32 columns and int64 row
    pointers as scipy holds them, not compressed; `stored` what its files have on disk, encoded
    as `encoding` says ("csr", "dense" or "mixed").
    """

    layer: str
    encoding: str
    dense: int
    csr: int
    stored: int
    floor: Floor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Bytes of a store's layers.

    `total` is all of its files, those of layers that are left out here among them; `others` is
    the number of these, and `others_stored` what they take. What then remains are tables, counts
    and metadata.
    """

    layers: tuple[LayerSize, ...]
    total: int
    others: int
    others_stored: int

    @property
    def tables(self) -> int:
        """Bytes that are no layer's data."""
        return self.total - self.others_stored - sum(size.stored for size in self.layers)


def measure_sizes(store: Store, layers: Sequence[str], *, seed: int = 0) -> Sizes:
    """Measure what `layers` of a store take.

    Raises
    ------
    StoreCorruptError
        What is on disk is not what was written.
    """
    facts = info(store.folder)
    entries = _mapping(facts["layers"])
    stored = {name: _number(_mapping(entry)["bytes_stored"]) for name, entry in entries.items()}
    sizes = []
    for name in layers:
        entry = _mapping(entries[name])
        nnz = _number(entry["nnz"])
        sizes.append(
            LayerSize(
                layer=name,
                encoding=str(entry["encoding"]),
                dense=_number(entry["bytes_dense"]),
                csr=8 * nnz + 8 * (store.n_rows + 1),
                stored=stored[name],
                floor=estimate_floor(store, name, seed=seed),
            )
        )
    others = [n_bytes for name, n_bytes in stored.items() if name not in layers]
    return Sizes(
        layers=tuple(sizes),
        total=_number(facts["bytes"]),
        others=len(others),
        others_stored=sum(others),
    )


def _mapping(value: JSON) -> dict[str, JSON]:
    assert isinstance(value, dict)
    return value


def _number(value: JSON) -> int:
    assert isinstance(value, int)
    return value
