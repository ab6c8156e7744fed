"""Rows of a store with their labels, which can be sent to other processes."""

import difflib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError
from sparsefeat.interop.torch.tensors import Block
from sparsefeat.store import Numbers, Rows, Store, row_numbers


class RowSource:
    """A layer's rows, read through a store that every process opens for itself.

    Parameters
    ----------
    store, layer, rows, label, sparse
        As the data sets take them.

    Attributes
    ----------
    numbers
        int64 (n,), row numbers in the order asked for.
    as_csr
        Whether rows are held as CSR until they are handed out.
    labels
        int64 (n,), or None. Of a column of text, places in `classes`.
    classes
        What a column of text holds in the whole store, sorted, so that all selections agree.
    """

    def __init__(
        self,
        store: Store | str | Path,
        layer: str,
        rows: Rows | None,
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
        StoreError
            Its parts are others than when the data set was made.
        """
        pid = os.getpid()
        # A fork inherits the parent's, whose locks and threads are of no use to it.
        if self._opened is None or self._opened[0] != pid:
            open_again, arguments = self._opening
            self._opened = (pid, open_again(*arguments))
        return self._opened[1]

    def row_bytes(self) -> Numbers:
        """Bytes that each row takes while it is held, int64 (n,)."""
        if self.as_csr:
            return self.store[self.layer.name].csr_row_bytes[self.numbers]
        return np.full(len(self.numbers), 4 * self.layer.n_features, np.int64)

    def read(self, places: Numbers) -> Block:
        """Read rows by their places in `numbers`, in one call of the store."""
        numbers = self.numbers[places]
        if self.as_csr:
            return self.store[self.layer.name][numbers]
        return self.store[self.layer.name].to_numpy(numbers)


def _labels(store: Store, column: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    obs = store.obs
    if column not in obs:
        near = difflib.get_close_matches(column, obs.columns) or [*obs.columns]
        raise InputError(
            f"obs has no column {column!r}, expected one for labels: try {', '.join(near)}"
        )
    if obs[column].dtype.kind != "i":
        classes, codes = np.unique(obs[column].to_numpy().astype(str), return_inverse=True)
        return codes.astype(np.int64), classes.tolist()
    return obs[column].to_numpy(np.int64), []
