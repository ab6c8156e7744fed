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
from sparsefeat.store.dataset.store import Store, Zeros, open_store
from sparsefeat.store.dataset.store import open_store as open
from sparsefeat.store.dataset.writer import StoreWriter
from sparsefeat.store.format.documents import JSON, SHARD, differences, layer_key
from sparsefeat.store.part.layers import encoding
from sparsefeat.store.values import Loss, Values

__all__ = [
    "BATCH_MEMORY",
    "JSON",
    "SHARD",
    "Index",
    "Loss",
    "Numbers",
    "Rows",
    "Status",
    "Store",
    "StoreWriter",
    "Values",
    "Zeros",
    "check_count",
    "check_memory",
    "choose_stored",
    "csr_rows",
    "differences",
    "encoding",
    "fitting",
    "is_store",
    "layer_key",
    "open",
    "open_store",
    "row_numbers",
    "spans",
]
