"""One layer of a store, read when it is asked for."""

import fnmatch
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import numpy as np
import numpy.typing as npt

from sparsefeat.errors import InputError, LayerError
from sparsefeat.model import GROUPS, PRE, parse_layer_names
from sparsefeat.store.dataset.rows import (
    Numbers,
    Parts,
    RowIndex,
    Wanted,
    batches,
    by_part,
    csr_bytes,
    csr_rows,
    read_csr,
    read_dense,
    require_memory,
    row_numbers,
    runs,
)
from sparsefeat.store.format import JSON, SHARD
from sparsefeat.system import close_matches, importing, overlapped
from sparsefeat.types import Layer
from sparsefeat_kernels import Csr, csr_zeros_per_channel

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array


def choose_stored_layers(
    wanted: str | Sequence[str] | None, names: Collection[str]
) -> tuple[str, ...]:
    """Resolve names, groups and patterns to names of layers that a store holds, in its order.

    As in an extraction, a pattern means layers after ReLU unless it ends in /pre itself. None means
    all that the store holds, including those before ReLU.

    Raises
    ------
    LayerError
        A name or pattern matches nothing.

    Examples
    --------
    >>> choose_stored_layers("pools,fc?", ["block4_pool", "block5_pool", "fc1", "fc1/pre"])
    ('block4_pool', 'block5_pool', 'fc1')
    """
    if wanted is None:
        return tuple(names)
    chosen: set[str] = set()
    for word in parse_layer_names(wanted):
        found = [name for name in names if _is_meant(name, word)]
        if not found:
            likely = close_matches(word, names) or list(names)
            raise LayerError(
                f"the store has no layer {word!r}, expected one it holds: try {', '.join(likely)}"
            )
        chosen.update(found)
    return tuple(name for name in names if name in chosen)


def _is_meant(name: str, word: str) -> bool:
    if name.endswith(PRE) != word.endswith(PRE):
        return False
    group = GROUPS.get(word)
    if group is None:
        return fnmatch.fnmatchcase(name, word)
    excluded = any(fnmatch.fnmatchcase(name, pattern) for pattern in group.exceptions)
    return fnmatch.fnmatchcase(name, group.pattern) and not excluded


_SHOWN = 3  # of ids, in a message


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Zeros:
    """How many elements of a layer are zero.

    `per_row` is int64 (N,), `per_channel` int64 (C,) over all rows and positions.
    """

    per_row: npt.NDArray[np.int64]
    per_channel: npt.NDArray[np.int64]


class LayerView:
    """One layer of a store as a matrix (rows, features) of which nothing is read yet.

    ``store["block5_pool"]`` gives one. Indexing it reads rows into a `scipy.sparse.csr_array`:
    ``view[7]``, ``view[10:20]``, ``view[[3, 1, 1]]``, ``view[mask]``, and by row id
    ``view.loc[ids]``.

    Every method that reads raises `StoreMemoryError` if the result takes more than the store's
    memory limit, `StoreCorruptError` if the data on the disk are damaged, `StoreReadError` if the
    system refuses, `StoreChangedError` if `vacuum` has deleted a part, and `InputError` if a row
    does not exist.

    Examples
    --------
    >>> import sparsefeat
    >>> view = sparsefeat.open("features/")["block5_pool"]  # doctest: +SKIP
    >>> view.shape, view.layer_shape, round(view.sparsity, 2)  # doctest: +SKIP
    ((1000, 25088), (7, 7, 512), 0.88)
    >>> view[:10].toarray().shape  # doctest: +SKIP
    (10, 25088)
    """

    def __init__(
        self,
        layer: Layer,
        parts: Parts,
        place: int,
        memory_limit: int | None,
        ids: "Callable[[], pd.Index[str]]",
    ) -> None:
        self.layer = layer
        self._parts, self._place, self._memory_limit, self._ids = parts, place, memory_limit, ids
        self._nnz: Numbers | None = None

    def __repr__(self) -> str:
        return f"<LayerView {self.name!r}, shape {self.shape}, {self.sparsity:.1%} zeros>"

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> NoReturn:
        raise TypeError("a layer is not read row by row: go through view.batches()")

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return int(self._parts.starts[-1]), self.layer.n_features

    @property
    def layer_shape(self) -> tuple[int, ...]:
        """Shape of one row as the network gave it: (H, W, C) or (F,)."""
        return self.layer.shape

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Type of what is read: float32."""
        return np.dtype(np.float32)

    @cached_property
    def nnz(self) -> int:
        """Elements that are not zero."""
        if any(entry.excluded for entry in self._parts.entries):
            return int(self.nnz_per_row.sum())
        return sum(entry.layers[self._place].nnz for entry in self._parts.entries)

    @property
    def sparsity(self) -> float:
        """Share of the elements that are zero; NaN for a layer without rows."""
        size = len(self) * self.layer.n_features
        return 1 - self.nnz / size if size else float("nan")

    @property
    def nnz_per_row(self) -> Numbers:
        """Non-zeros of each row, int64 (N,), read-only; the data are not read for it."""
        if self._nnz is None:
            counts = self._count(self._numbers(slice(None)))
            counts.flags.writeable = False
            self._nnz = counts
        return self._nnz

    def zeros(self) -> Zeros:
        """Count zeros per row and per channel, without reading the data."""
        per_channel = np.zeros(self.layer.n_channels, np.int64)
        for part in self._parts:
            per_channel += part.zeros_per_channel(self.name)
            for start, stop in part.entry.excluded:
                some = part.rows(self.name, start, stop)
                per_channel -= csr_zeros_per_channel(some, self.layer.n_channels)
        return Zeros(per_row=self.layer.n_features - self.nnz_per_row, per_channel=per_channel)

    def __getitem__(self, rows: RowIndex) -> "csr_array":
        """Read rows into one float32 matrix; indices are int32 where they fit."""
        with importing("scipy"):
            from scipy.sparse import csr_array

        numbers, n_columns = self._numbers(rows), self.layer.n_features
        nnz = self._count(numbers)
        needed = csr_bytes(len(numbers), int(nnz.sum()), n_columns)
        self._require(needed, len(numbers), "a CSR matrix")
        arrays = read_csr(self._parts, self.layer, numbers, nnz)
        matrix: csr_array[np.float32] = csr_array(arrays, shape=(len(numbers), n_columns))
        matrix.has_canonical_format = True
        return matrix

    @property
    def loc(self) -> "_ById":
        """Rows by their ids, which ``store.obs.index`` lists: ``view.loc[ids]``."""
        return _ById(self)

    def to_scipy(self, rows: RowIndex = slice(None)) -> "csr_array":
        """Read all rows, or some, into one matrix: ``view[rows]``."""
        return self[rows]

    def to_numpy(self, rows: RowIndex = slice(None)) -> npt.NDArray[np.float32]:
        """Read all rows, or some, as the network gave them.

        Returns
        -------
        float32 (n, H, W, C), or (n, F) for a layer without positions.
        """
        numbers = self._numbers(rows)
        self._require(4 * len(numbers) * self.layer.n_features, len(numbers), "a dense array")
        dense = read_dense(self._parts, self.layer, numbers)
        return dense.reshape(len(numbers), *self.layer.shape)

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Read all rows into an array of the view's shape; refused if it would not fit."""
        if copy is False:
            raise ValueError("a layer that is read is always a copy: leave copy=False out")
        dense = self.to_numpy().reshape(self.shape)
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def batches(
        self,
        rows: RowIndex = slice(None),
        *,
        memory: int | None = None,
        batch_size: int | None = None,
    ) -> "Iterator[tuple[Numbers, csr_array[np.float32]]]":
        """Iterate over all rows, or some, in the order of the store.

        Parameters
        ----------
        rows
            As ``view[rows]`` takes them; numbers may come in any order.
        memory
            Bytes that a batch may take: its float32 values, indices and indptr, and those read
            ahead of it. By default 256 MiB, if `batch_size` is not given.
        batch_size
            Rows in a batch, at most; `memory` and the memory limit apply as well.

        Yields
        ------
        rows
            int64 (n,), ascending row numbers.
        matrix
            What ``view[rows]`` gives.

        Raises
        ------
        InputError
            A single row takes more than `memory`.

        Notes
        -----
        Batches are not kept once they are yielded. But a loop's variable holds its batch until the
        next one has been read: allow for two batches, or ``del`` it.
        """
        numbers = np.sort(self._numbers(rows))
        return batches(
            numbers,
            self.csr_row_bytes[numbers],
            self.__getitem__,
            csr_rows,
            layer=self.name,
            overhead=csr_bytes(0, 0, self.layer.n_features),
            limit=self._memory_limit,
            memory=memory,
            batch_size=batch_size,
        )

    def dense_batches(
        self,
        rows: RowIndex = slice(None),
        *,
        memory: int | None = None,
        batch_size: int | None = None,
    ) -> Iterator[tuple[Numbers, npt.NDArray[np.float32]]]:
        """Iterate over rows as `batches` does, as dense arrays: float32 (n, H, W, C)."""
        numbers = np.sort(self._numbers(rows))
        return batches(
            numbers,
            np.full(len(numbers), 4 * self.layer.n_features, np.int64),
            self.to_numpy,
            lambda block, start, stop: block[start:stop].copy(),
            layer=self.name,
            overhead=0,
            limit=self._memory_limit,
            memory=memory,
            batch_size=batch_size,
        )

    def supports(self) -> Iterator[Csr]:
        """Read which elements aren't zero, some rows at a time, in the order of the store.

        All values are 1. If the layer is stored as CSR, indices are read, but not values.
        """
        for part in self._parts:
            rows = np.arange(part.header.rows) if part.kept is None else part.kept
            for start, stop in runs(rows, part.offsets(self.name), most=SHARD):
                yield part.support(self.name, start, stop)

    def as_stored(self, rows: RowIndex) -> "csr_array":
        """Read rows as ``view[rows]`` does, but give codes instead of their values."""
        matrix = self[rows]
        for wanted in by_part(self._parts, row_numbers(rows, len(self))):
            companding = wanted.part.layers[self.name].companding
            if companding is None:
                continue
            scales = wanted.part.scales(self.name)
            for row in wanted.places.tolist():
                place = slice(matrix.indptr[row], matrix.indptr[row + 1])
                ratios = matrix.data[place] / scales[matrix.indices[place] % len(scales)]
                codes = np.sqrt(ratios) if companding == "square" else ratios
                matrix.data[place] = np.rint(codes)
        return matrix

    def stored_values(self) -> list[dict[str, JSON]]:
        """List the ways in which parts store the layer, except float32 to the last bit."""
        if all(entry.layers[self._place].form == "float32" for entry in self._parts.entries):
            return []
        found: list[dict[str, JSON]] = []
        for part in self._parts:
            values = part.layers[self.name].values
            if values is not None and (fact := msgspec.to_builtins(values)) not in found:
                found.append(fact)
        return found

    @property
    def csr_row_bytes(self) -> Numbers:
        """Bytes of each row in a CSR matrix, int64 (N,)."""
        # Batches whose own index would not fit int32 would be larger than any memory.
        return self.nnz_per_row * 8 + 4

    @property
    def is_dense(self) -> bool:
        """Whether every part stores the layer dense: as CSR it would take more memory."""
        entries = self._parts.entries
        return all(entry.layers[self._place].encoding == "dense" for entry in entries)

    def _numbers(self, rows: RowIndex) -> Numbers:
        """Give row numbers; a store may claim more of them than memory has room for."""
        if isinstance(rows, slice):
            count = len(range(*rows.indices(len(self))))
            self._require(8 * count, count, "row numbers")
        return row_numbers(rows, len(self))

    def _count(self, numbers: Numbers) -> Numbers:
        """Count the non-zeros of some rows; only their parts are looked at."""
        if self._nnz is not None:
            return self._nnz[numbers]
        counts = np.empty(len(numbers), np.int64)

        def count(wanted: Wanted) -> None:
            counts[wanted.places] = np.diff(wanted.part.indptr(self.name))[wanted.rows]

        some = by_part(self._parts, numbers)
        for _ in overlapped(count, some, self._parts.storage.reads_at_once):
            pass
        return counts

    def _require(self, needed: int, count: int, form: str) -> None:
        require_memory(needed, self._memory_limit, layer=self.name, n_rows=count, form=form)


class _ById:
    """Reads rows of a layer by their ids."""

    def __init__(self, view: LayerView) -> None:
        self._view = view

    def __getitem__(self, ids: "str | Sequence[str] | pd.Index[str]") -> "csr_array":
        """Read the rows of some ids, in their order."""
        with importing("pandas"):
            import pandas as pd

        wanted = [ids] if isinstance(ids, str) else [*ids]
        places = self._view._ids().get_indexer(pd.Index(wanted, dtype=object))
        if len(missing := np.flatnonzero(places < 0)):
            some = ", ".join(repr(wanted[place]) for place in missing[:_SHOWN].tolist())
            raise InputError(
                f"the store has no row {some}{', ...' * (len(missing) > _SHOWN)}, expected ids "
                "that store.obs.index lists"
            )
        return self._view[places]
