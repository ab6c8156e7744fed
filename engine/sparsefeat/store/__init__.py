"""The store: a folder of immutable parts, each one an AnnData group in Zarr v3."""

from sparsefeat.store.compact import Compaction, compact
from sparsefeat.store.info import info
from sparsefeat.store.known import Known, Status
from sparsefeat.store.merge import Merge, merge
from sparsefeat.store.reader import Store, Zeros, open_store
from sparsefeat.store.reader import open_store as open
from sparsefeat.store.report import Finding, VerifyReport
from sparsefeat.store.verify import verify
from sparsefeat.store.writer import StoreWriter

__all__ = [
    "Compaction",
    "Finding",
    "Known",
    "Merge",
    "Status",
    "Store",
    "StoreWriter",
    "VerifyReport",
    "Zeros",
    "compact",
    "info",
    "merge",
    "open",
    "open_store",
    "verify",
]
