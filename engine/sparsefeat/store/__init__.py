"""The store: immutable parts, each one an AnnData group in Zarr v3, and a log of snapshots.

``format``       what lies in the files: documents, arrays, chunks, codecs
``part``         writing and reading one part
``dataset``      a whole store: its log of snapshots, reading it, appending to it
``maintenance``  info, history, verify, compact, merge, remove, vacuum
"""

from sparsefeat.store.dataset import (
    BATCH_MEMORY,
    Index,
    LayerView,
    Numbers,
    RowIndex,
    Status,
    Store,
    StoreWriter,
    Zeros,
    check_count,
    check_memory,
    check_output,
    choose_stored_layers,
    csr_rows,
    fitting,
    is_store,
    open_store,
    row_numbers,
    spans,
    with_objects,
)
from sparsefeat.store.dataset import open_store as open
from sparsefeat.store.format import JSON, Loss, PartEntry, Values, differences, layer_key
from sparsefeat.store.maintenance import (
    Commit,
    Compaction,
    Finding,
    Merge,
    Removal,
    Vacuum,
    VerifyReport,
    compact,
    history,
    info,
    merge,
    remove,
    vacuum,
    verify,
)
from sparsefeat.store.part import encoding

__all__ = [
    "BATCH_MEMORY",
    "JSON",
    "Commit",
    "Compaction",
    "Finding",
    "Index",
    "LayerView",
    "Loss",
    "Merge",
    "Numbers",
    "PartEntry",
    "Removal",
    "RowIndex",
    "Status",
    "Store",
    "StoreWriter",
    "Vacuum",
    "Values",
    "VerifyReport",
    "Zeros",
    "check_count",
    "check_memory",
    "check_output",
    "choose_stored_layers",
    "compact",
    "csr_rows",
    "differences",
    "encoding",
    "fitting",
    "history",
    "info",
    "is_store",
    "layer_key",
    "merge",
    "open",
    "open_store",
    "remove",
    "row_numbers",
    "spans",
    "vacuum",
    "verify",
    "with_objects",
]
