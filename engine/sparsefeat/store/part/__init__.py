"""Writing and reading one part of a store."""

from sparsefeat.store.part.encoders import (
    LinearEncoder,
    Reencoder,
    RoundedEncoder,
    SquareEncoder,
    ValueEncoder,
)
from sparsefeat.store.part.layers import LayerRows, cut_rows, encoding, n_rows
from sparsefeat.store.part.read import Part, open_parts, read_refusal
from sparsefeat.store.part.tables import (
    COLUMNS,
    EXTRA,
    INDEX,
    REJECTED,
    ROWS,
    check_records,
    full_path,
    row_id,
)
from sparsefeat.store.part.write import MAX_BYTES, REJECTS_PER_PART, PartLimits, PartWriter

__all__ = [
    "COLUMNS",
    "EXTRA",
    "INDEX",
    "MAX_BYTES",
    "REJECTED",
    "REJECTS_PER_PART",
    "ROWS",
    "LayerRows",
    "LinearEncoder",
    "Part",
    "PartLimits",
    "PartWriter",
    "Reencoder",
    "RoundedEncoder",
    "SquareEncoder",
    "ValueEncoder",
    "check_records",
    "cut_rows",
    "encoding",
    "full_path",
    "n_rows",
    "open_parts",
    "read_refusal",
    "row_id",
]
