"""A whole store: its log of snapshots, reading it, appending to it."""

from sparsefeat.store.dataset.index import Index, Status, row_ids
from sparsefeat.store.dataset.log import Log, check_output, claim, is_store, writing
from sparsefeat.store.dataset.rows import (
    BATCH_MEMORY,
    Numbers,
    RowIndex,
    by_part,
    check_count,
    check_memory,
    csr_rows,
    fitting,
    row_numbers,
    runs,
    spans,
)
from sparsefeat.store.dataset.snapshot import Change, Snapshot, exclude_rows, excluding
from sparsefeat.store.dataset.store import Store, open_store
from sparsefeat.store.dataset.tables import standing_rejects, with_objects
from sparsefeat.store.dataset.view import LayerView, Zeros, choose_stored_layers
from sparsefeat.store.dataset.writer import StoreWriter

__all__ = [
    "BATCH_MEMORY",
    "Change",
    "Index",
    "LayerView",
    "Log",
    "Numbers",
    "RowIndex",
    "Snapshot",
    "Status",
    "Store",
    "StoreWriter",
    "Zeros",
    "by_part",
    "check_count",
    "check_memory",
    "check_output",
    "choose_stored_layers",
    "claim",
    "csr_rows",
    "exclude_rows",
    "excluding",
    "fitting",
    "is_store",
    "open_store",
    "row_ids",
    "row_numbers",
    "runs",
    "spans",
    "standing_rejects",
    "with_objects",
    "writing",
]
