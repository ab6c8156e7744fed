"""PyTorch data sets of a layer of a store: map-style and iterable."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from sparsefeat.errors import InputError
from sparsefeat.interop.torch.rows import RowSource, dense_rows, sparse_rows
from sparsefeat.store import (
    BATCH_MEMORY,
    Numbers,
    RowIndex,
    Store,
    check_count,
    check_memory,
    fitting,
)
from sparsefeat.system import format_bytes

BLOCKS: Final = 16  # stretches of neighbours that are shuffled together


class StoreDataset(Dataset):  # type: ignore[misc]  # PyTorch may be missing
    """A layer of a store as a map-style data set.

    It reads a whole batch of a `DataLoader` by one call of the store. With workers, each process
    opens the store itself.

    Parameters
    ----------
    store
        A store, or its folder.
    layer
        The layer's name.
    rows
        The rows, as ``store[layer][rows]`` takes them (see `Store.where`); None for all.
    label
        A column of `obs` to yield with each row, as int64: for text, the index in `classes`.
    sparse
        Whether samples are sparse CSR tensors (1, F) rather than dense float32 (H, W, C). A
        `DataLoader` then needs ``collate_fn=sparsefeat.interop.torch.collate``.

    Attributes
    ----------
    classes
        The sorted texts of a text label, over the whole store: label i is ``classes[i]``.

    Raises
    ------
    LayerError, InputError, StoreError
        As for `Store`; or `obs` has no column `label`.

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
        rows: RowIndex | None = None,
        *,
        label: str | None = None,
        sparse: bool = False,
    ) -> None:
        self._source = RowSource(store, layer, rows, label, sparse=sparse)
        self.classes = self._source.classes
        self._sparse = sparse

    def __len__(self) -> int:
        return len(self._source.numbers)

    def __getitem__(self, index: int) -> Any:
        """Return float32 (H, W, C), or sparse (1, F); with `label`, a pair of it and an int."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return several samples by one call of the store; `DataLoader` calls this method."""
        source = self._source
        sample_numbers = np.asarray(indices, np.int64)
        block = source.read(sample_numbers)
        tensors: list[torch.Tensor]
        if self._sparse:
            tensors = [sparse_rows(block, row, row + 1) for row in range(len(sample_numbers))]
        else:
            tensors = [*dense_rows(block, 0, len(sample_numbers), source.layer)]
        if source.labels is None:
            return tensors
        return [*zip(tensors, source.labels[sample_numbers].tolist(), strict=True)]


class StoreIterableDataset(IterableDataset):  # type: ignore[misc]  # PyTorch may be missing
    """A layer of a store as an iterable data set, for stores that don't fit into memory.

    Rows come in the order of the store, or shuffled. To shuffle, the store is split into
    stretches of neighbouring rows, and their order is drawn; as many stretches as fit `memory` are
    read at once, and their rows are mixed. All workers of a `DataLoader` on all ranks together
    yield every row exactly once.

    Parameters
    ----------
    store
        A store, or its folder.
    layer
        The layer's name.
    rows
        The rows, as ``store[layer][rows]`` takes them (see `Store.where`); None for all.
    label
        A column of `obs` to yield with each row, as int64: for text, the index in `classes`.
    sparse
        Whether to yield sparse CSR tensors rather than dense ones.
    batch_size
        None yields single samples: (H, W, C), or sparse (1, F). A number yields batches, of which
        the last one of each worker may be smaller; use ``DataLoader(dataset, batch_size=None)``.
    shuffle
        Whether to shuffle the rows.
    seed
        Seed of the order of each epoch, at least 0. All ranks need the same seed and `memory`.
    memory
        The most bytes of rows that each worker reads ahead, in addition to the current sample or
        batch: values and indices, or dense rows if the store holds the layer dense.
    rank, world_size
        The number of this process, from 0, and the number of processes. Their numbers of rows
        differ by at most one.

    Attributes
    ----------
    n_rows
        Number of rows of this rank.
    classes
        The sorted texts of a text label, over the whole store: label i is ``classes[i]``.

    Raises
    ------
    LayerError, InputError, StoreError
        As for `Store`; or `obs` has no column `label`; or a row or a batch doesn't fit `memory`.
    """

    def __init__(
        self,
        store: Store | str | Path,
        layer: str,
        rows: RowIndex | None = None,
        *,
        label: str | None = None,
        sparse: bool = False,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        memory: int = BATCH_MEMORY,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._source = RowSource(store, layer, rows, label, sparse=sparse)
        self.classes = self._source.classes
        self._sparse, self._batch_size, self._shuffle = sparse, batch_size, shuffle
        self._seed, self._memory, self._rank, self._world_size = seed, memory, rank, world_size
        self._row_bytes = self._source.row_bytes()
        self._check()
        # In shared memory, so that persistent workers see the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def n_rows(self) -> int:
        """Number of rows of this rank."""
        return len(_share(self._source.numbers, self._rank, self._world_size))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the shuffled order; the default is 0."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, n_workers = (0, 1) if info is None else (info.id, info.num_workers)
        epoch = int(self._epoch)
        mine = _share(self._order(epoch), self._rank, self._world_size)
        mine = _share(mine, worker, n_workers)
        drawn = np.random.default_rng(
            (self._seed, epoch, self._rank, worker) if self._shuffle else None
        )
        for sample_numbers in self._fetches(mine):
            if self._shuffle:
                drawn.shuffle(sample_numbers)
            # The block of rows gets no name here: its memory is freed before the next is read.
            yield from self._samples(sample_numbers)

    def _check(self) -> None:
        check_memory(self._memory, self._source.layer.name, self._source.numbers, self._row_bytes)
        check_count("world_size", self._world_size, "processes")
        if self._rank not in range(self._world_size):
            raise InputError(
                f"got rank={self._rank!r}, expected 0 to {self._world_size - 1}: "
                f"world_size is {self._world_size}"
            )
        if (
            isinstance(self._seed, bool)
            or not isinstance(self._seed, int | np.integer)
            or self._seed < 0
        ):
            raise InputError(f"got seed={self._seed!r}, expected a whole number of at least 0")
        if self._batch_size is None:
            return
        check_count("batch_size", self._batch_size, "rows")
        largest = int(np.sort(self._row_bytes)[-self._batch_size :].sum())
        if largest > self._memory:
            raise InputError(
                f"got memory={self._memory} ({format_bytes(self._memory)}), but a batch of "
                f"{self._batch_size} rows may take {format_bytes(largest)}: use memory={largest} "
                "or more, or a smaller batch_size"
            )

    def _order(self, epoch: int) -> Numbers:
        """Return indices into `numbers`, in the order in which all ranks together read the rows."""
        sample_numbers = np.argsort(self._source.numbers, kind="stable")
        if not self._shuffle:
            return sample_numbers
        cuts = fitting(self._row_bytes[sample_numbers], self._memory // BLOCKS, overhead=0)
        drawn = np.random.default_rng((self._seed, epoch)).permutation(len(cuts))
        stretches = [sample_numbers[slice(*cuts[number])] for number in drawn]
        return np.concatenate([sample_numbers[:0], *stretches])

    def _fetches(self, sample_numbers: Numbers) -> Iterator[Numbers]:
        """Split a worker's share into pieces of whole batches that are read at once."""
        step = self._batch_size or 1
        starts = np.arange(0, len(sample_numbers), step)
        if not len(starts):
            return
        sizes = np.add.reduceat(self._row_bytes[sample_numbers], starts)
        for first, last in fitting(sizes, self._memory, overhead=0):
            yield sample_numbers[first * step : last * step]

    def _samples(self, sample_numbers: Numbers) -> Iterator[Any]:
        source, step = self._source, self._batch_size or 1
        block = source.read(sample_numbers)
        for start in range(0, len(sample_numbers), step):
            stop = min(start + step, len(sample_numbers))
            if self._sparse:
                tensor = sparse_rows(block, start, stop)
            else:
                tensor = dense_rows(block, start, stop, source.layer)
            if self._batch_size is None and not self._sparse:
                tensor = tensor[0]
            if source.labels is None:
                yield tensor
            elif self._batch_size is None:
                yield tensor, int(source.labels[sample_numbers[start]])
            else:
                yield tensor, torch.from_numpy(source.labels[sample_numbers[start:stop]])


def _share(sample_numbers: Numbers, number: int, count: int) -> Numbers:
    """Return one of `count` shares, whose lengths differ by at most one."""
    return sample_numbers[
        len(sample_numbers) * number // count : len(sample_numbers) * (number + 1) // count
    ]
