"""A store's rows for PyTorch: data sets for a `DataLoader`, dense or sparse."""

from sparsefeat.interop.torch import StoreDataset, StoreIterableDataset, collate

__all__ = ["StoreDataset", "StoreIterableDataset", "collate"]
