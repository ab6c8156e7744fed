"""A store's rows for PyTorch: data sets for a `DataLoader`, dense or sparse."""

from sparsefeat.errors import MissingDependencyError

try:
    import torch  # noqa: F401
except ImportError as exc:
    raise MissingDependencyError(
        "PyTorch is not installed, expected it for sparsefeat.torch: "
        "pip install 'sparsefeat[torch]', or a build of your choice"
    ) from exc

from sparsefeat.torch.dataset import StoreDataset
from sparsefeat.torch.iterable import StoreIterableDataset
from sparsefeat.torch.tensors import collate

__all__ = ["StoreDataset", "StoreIterableDataset", "collate"]
