"""The store: a folder of immutable parts, each one an AnnData group in Zarr v3."""

from sparsefeat.store.known import Known, Status
from sparsefeat.store.reader import Store, Zeros, open_store
from sparsefeat.store.reader import open_store as open
from sparsefeat.store.writer import StoreWriter

__all__ = ["Known", "Status", "Store", "StoreWriter", "Zeros", "open", "open_store"]
