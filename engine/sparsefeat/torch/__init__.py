"""A store's rows for PyTorch: data sets for a `DataLoader`, dense or sparse."""

from sparsefeat.torch.dataset import StoreDataset
from sparsefeat.torch.iterable import StoreIterableDataset
from sparsefeat.torch.tensors import collate

__all__ = ["StoreDataset", "StoreIterableDataset", "collate"]
