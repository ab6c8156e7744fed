"""A data set of which any row can be asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from sparsefeat.interop.torch.source import RowSource
from sparsefeat.interop.torch.tensors import dense_rows, sparse_rows
from sparsefeat.store import Rows, Store


class StoreDataset(Dataset):  # type: ignore[misc]  # PyTorch may be missing
    """A layer of a store as a map-style data set.

    A `DataLoader` asks it for a whole batch at once: one call of the store. With workers, each
    process opens the store for itself.

    Parameters
    ----------
    store
        A store, or its folder.
    layer
        The layer's name.
    rows
        Which rows, as ``store[layer][rows]`` takes them (see `Store.where`); None for all.
    label
        A column of `obs` to give with each row, as an int64: of text the place in `classes`.
    sparse
        Whether samples are sparse CSR tensors (1, F) rather than dense ones. Give the
        `DataLoader` `sparsefeat.interop.torch.collate` then.

    Attributes
    ----------
    classes
        What a label of text stands for, sorted, over the whole store.

    Raises
    ------
    LayerError, InputError, StoreError
        As `Store` does; or there is no such column.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> dataset = StoreDataset("features/", "block5_pool", label="label")  # doctest: +SKIP
    >>> loader = DataLoader(dataset, 32, shuffle=True, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        store: Store | str | Path,
        layer: str,
        rows: Rows | None = None,
        *,
        label: str | None = None,
        sparse: bool = False,
    ) -> None:
        self._source = RowSource(store, layer, rows, label, sparse=sparse)
        self._sparse = sparse

    @property
    def classes(self) -> list[str]:
        """What each label of text stands for."""
        return self._source.classes

    def __len__(self) -> int:
        return len(self._source.numbers)

    def __getitem__(self, index: int) -> Any:
        """Give float32 (H, W, C), or sparse (1, F); with `label`, that and a number."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Give several samples, in one call of the store; `DataLoader` looks for this."""
        source = self._source
        places = np.asarray(indices, np.int64)
        block = source.read(places)
        tensors: list[Tensor]
        if self._sparse:
            tensors = [sparse_rows(block, row, row + 1) for row in range(len(places))]
        else:
            tensors = [*dense_rows(block, 0, len(places), source.layer)]
        if source.labels is None:
            return tensors
        return [*zip(tensors, source.labels[places].tolist(), strict=True)]
