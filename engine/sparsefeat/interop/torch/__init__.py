"""PyTorch data sets of a store's rows, dense or sparse, for a `DataLoader`."""

from sparsefeat.system import importing

with importing("torch", "pip install 'sparsefeat[torch]', or a build of your choice"):
    import torch  # noqa: F401

from sparsefeat.interop.torch.datasets import StoreDataset, StoreIterableDataset
from sparsefeat.interop.torch.rows import collate, csr_tensor

__all__ = ["StoreDataset", "StoreIterableDataset", "collate", "csr_tensor"]
