"""Reads rows of a store with their labels as tensors; readers can be sent to other processes."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import default_collate

from sparsefeat.errors import InputError
from sparsefeat.store import Numbers, RowIndex, Store, csr_rows, row_numbers
from sparsefeat.system import close_matches
from sparsefeat.types import Layer
from sparsefeat_kernels import Csr, to_dense

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Block: TypeAlias = "csr_array[np.float32] | npt.NDArray[np.float32]"


class RowSource:
    """The rows of a layer, read from a store that every process opens itself.

    Parameters
    ----------
    store, layer, rows, label, sparse
        As in the data sets.

    Attributes
    ----------
    numbers
        int64 (n,): row numbers, in the order of `rows`.
    as_csr
        Whether rows are held as CSR until they become tensors.
    labels
        int64 (n,), or None. For a column of text, indices in `classes`.
    classes
        The sorted texts of a text column in the whole store, so that all selections agree.
    """

    def __init__(
        self,
        store: Store | str | Path,
        layer: str,
        rows: RowIndex | None,
        label: str | None,
        *,
        sparse: bool,
    ) -> None:
        opened = store if isinstance(store, Store) else Store(store)
        self._opening = opened.__reduce__()
        self._opened: tuple[int, Store] | None = (os.getpid(), opened)
        self.layer = opened[layer].layer
        self.numbers = row_numbers(slice(None) if rows is None else rows, opened.n_rows)
        self.as_csr = sparse or not opened[layer].is_dense
        self.labels: npt.NDArray[np.int64] | None = None
        self.classes: list[str] = []
        if label is not None:
            every, self.classes = _labels(opened, label)
            self.labels = every[self.numbers]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    @property
    def store(self) -> Store:
        """The store, opened by this process.

        Raises
        ------
        InputError
            The data set's snapshot was deleted by `vacuum`.
        """
        pid = os.getpid()
        # A forked process can't use its parent's store, whose locks and threads it lacks.
        if self._opened is None or self._opened[0] != pid:
            open_again, arguments = self._opening
            self._opened = (pid, open_again(*arguments))
        return self._opened[1]

    def row_bytes(self) -> Numbers:
        """Return the bytes that each row takes in memory, int64 (n,)."""
        if self.as_csr:
            return self.store[self.layer.name].csr_row_bytes[self.numbers]
        return np.full(len(self.numbers), 4 * self.layer.n_features, np.int64)

    def read(self, sample_numbers: Numbers) -> Block:
        """Read rows by their indices in `numbers`, in one call of the store."""
        numbers = self.numbers[sample_numbers]
        if self.as_csr:
            return self.store[self.layer.name][numbers]
        return self.store[self.layer.name].to_numpy(numbers)


def _labels(store: Store, column: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    obs = store.obs
    if column not in obs:
        likely = close_matches(column, obs.columns) or [*obs.columns]
        raise InputError(f"obs has no column {column!r} for labels: try {', '.join(likely)}")
    if obs[column].dtype.kind != "i":
        classes, codes = np.unique(obs[column].to_numpy().astype(str), return_inverse=True)
        return codes.astype(np.int64), classes.tolist()
    return obs[column].to_numpy(np.int64), []


def sparse_rows(block: Block, start: int, stop: int) -> torch.Tensor:
    """Return some rows of a CSR matrix as a sparse CSR tensor with its own memory."""
    assert not isinstance(block, np.ndarray)
    return csr_tensor(csr_rows(block, start, stop))


def dense_rows(block: Block, start: int, stop: int, layer: Layer) -> torch.Tensor:
    """Return some rows as a dense tensor (n, H, W, C) with its own memory.

    A slice of a tensor would be sent to another process with the memory of the whole tensor.
    """
    if isinstance(block, np.ndarray):
        return torch.from_numpy(block[start:stop].copy())
    indptr = block.indptr[start : stop + 1].astype(np.int64)
    held = slice(indptr[0], indptr[-1])
    csr = Csr(
        indptr - indptr[0],
        block.indices[held].astype(np.int32, copy=False),
        block.data[held],
        layer.n_features,
    )
    return torch.from_numpy(to_dense(csr).reshape(stop - start, *layer.shape))


def csr_tensor(matrix: "csr_array[Any]") -> torch.Tensor:
    """Return a CSR matrix as a sparse CSR tensor of the same shape, which shares its memory."""
    crow, col, values = map(torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data))
    return torch.sparse_csr_tensor(crow, col, values, size=matrix.shape, check_invariants=False)


def collate(samples: Sequence[Any]) -> Any:
    """Make a batch of samples: a ``collate_fn`` for a `DataLoader`.

    Parameters
    ----------
    samples
        Tensors, or pairs of a tensor and a label, as `StoreDataset` returns them.

    Returns
    -------
    torch.Tensor or tuple
        Sparse samples (1, F) as one sparse CSR tensor (n, F); dense samples stacked (n, H, W, C).
        With labels, a pair of the tensor and the labels, int64 (n,).
    """
    if isinstance(samples[0], tuple):
        tensors, labels = zip(*samples, strict=True)
        return collate(tensors), default_collate(labels)
    if samples[0].layout != torch.sparse_csr:
        return default_collate([*samples])
    crow, base = [samples[0].crow_indices()[:1]], 0
    for sample in samples:
        crow.append(sample.crow_indices()[1:] + base)
        base += sample.values().numel()
    col = torch.cat([sample.col_indices() for sample in samples])
    values = torch.cat([sample.values() for sample in samples])
    size = sum(sample.shape[0] for sample in samples), samples[0].shape[1]
    return torch.sparse_csr_tensor(torch.cat(crow), col, values, size=size, check_invariants=False)


# PyTorch gives two warnings once per process: that CSR tensors are in beta state, and that their
# invariants aren't checked. Its own code causes the latter when a worker sends a tensor.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor(
        torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), [], size=(1, 1)
    )
