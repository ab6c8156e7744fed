"""A store's rows for PyTorch: data sets for a `DataLoader`, dense or sparse."""

from sparsefeat.system.dependencies import importing

with importing("torch", "pip install 'sparsefeat[torch]', or a build of your choice"):
    import torch  # noqa: F401

from sparsefeat.interop.torch.dataset import StoreDataset
from sparsefeat.interop.torch.iterable import StoreIterableDataset
from sparsefeat.interop.torch.tensors import collate

__all__ = ["StoreDataset", "StoreIterableDataset", "collate"]
