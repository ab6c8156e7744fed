"""The store: immutable parts, each one an AnnData group in Zarr v3, and a log of snapshots.

``format``       what lies in the files: documents, arrays, chunks, codecs
``part``         writing and reading one part
``dataset``      a whole store: its log of snapshots, reading it, appending to it
``maintenance``  info, history, verify, compact, merge, remove, vacuum
"""

from sparsefeat.store.dataset.batches import (
    BATCH_MEMORY,
    Numbers,
    check_count,
    check_memory,
    csr_rows,
    fitting,
)
from sparsefeat.store.dataset.choosing import choose_stored
from sparsefeat.store.dataset.index import Index, Status
from sparsefeat.store.dataset.log import is_store
from sparsefeat.store.dataset.rows import Rows, row_numbers, spans
from sparsefeat.store.dataset.store import Store, open_store
from sparsefeat.store.dataset.store import open_store as open
from sparsefeat.store.dataset.view import LayerView, Zeros
from sparsefeat.store.dataset.writer import StoreWriter
from sparsefeat.store.format.documents import JSON, SHARD, differences, layer_key
from sparsefeat.store.maintenance.compact import Compaction, compact
from sparsefeat.store.maintenance.info import Commit, history, info
from sparsefeat.store.maintenance.merge import Merge, merge
from sparsefeat.store.maintenance.remove import Removal, remove
from sparsefeat.store.maintenance.vacuum import Vacuum, vacuum
from sparsefeat.store.maintenance.verify import Finding, VerifyReport, verify
from sparsefeat.store.part.layers import encoding
from sparsefeat.store.values import Loss, Values

__all__ = [
    "BATCH_MEMORY",
    "JSON",
    "SHARD",
    "Commit",
    "Compaction",
    "Finding",
    "Index",
    "LayerView",
    "Loss",
    "Merge",
    "Numbers",
    "Removal",
    "Rows",
    "Status",
    "Store",
    "StoreWriter",
    "Vacuum",
    "Values",
    "VerifyReport",
    "Zeros",
    "check_count",
    "check_memory",
    "choose_stored",
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
]
