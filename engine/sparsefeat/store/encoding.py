"""The two ways in which a part can hold a layer: compressed sparse rows, or dense ones."""

import numpy as np
import numpy.typing as npt

from sparsefeat.store.codecs import Chain
from sparsefeat.store.group import PartGroup, encoding
from sparsefeat.store.layout import layer_key
from sparsefeat.store.stream import ArrayStream
from sparsefeat.types import Layer
from sparsefeat_kernels import Csr, csr_zeros_per_row, to_dense


class CsrWriter:
    """Writes AnnData's csr_matrix: data, indices, indptr."""

    def __init__(self, group: PartGroup, layer: Layer, chain: Chain) -> None:
        self._group, self._layer = group, layer
        self._name = f"obsm/{layer_key(layer.name)}"
        self._data = ArrayStream(group, f"{self._name}/data", chain)
        columns = Chain(dtype=np.dtype(np.int32), differences=True)
        self._indices = ArrayStream(group, f"{self._name}/indices", columns)
        self._indptr = [np.zeros(1, np.int64)]

    def append(self, csr: Csr) -> None:
        """Append rows."""
        self._data.append(csr.values)
        self._indices.append(csr.indices)
        self._indptr.append(csr.indptr[1:] + self._indptr[-1][-1])

    def finish(self) -> None:
        """Write what is left."""
        indptr = np.concatenate(self._indptr)
        shape = [len(indptr) - 1, self._layer.n_features]
        self._group.group(self._name, "csr_matrix", {"shape": [*shape]})
        self._data.finish()
        self._indices.finish()
        self._group.put(f"{self._name}/indptr", indptr)

    @staticmethod
    def row_bytes(nnz: npt.NDArray[np.int64], n_features: int) -> npt.NDArray[np.int64]:
        """Bytes of each row before compression, from its number of non-zeros."""
        return 8 * nnz + 8


class DenseWriter:
    """Writes AnnData's array (rows, features), and its zeros per row beside it."""

    def __init__(self, group: PartGroup, layer: Layer, chain: Chain) -> None:
        self._group, self._layer = group, layer
        self._key = layer_key(layer.name)
        self._array = ArrayStream(
            group,
            f"obsm/{self._key}",
            chain,
            width=layer.n_features,
            attributes=encoding("array"),
        )
        self._zeros: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]

    def append(self, csr: Csr) -> None:
        """Append rows."""
        start = 0
        while start < csr.n_rows:
            room = self._array.room(csr.n_rows - start)
            rows = csr.rows(start, start + len(room))
            if room.dtype == np.float32:
                to_dense(rows, out=room)
            else:
                room[...] = to_dense(rows)
            start += len(room)
            self._array.advance(len(room))
        self._zeros.append(csr_zeros_per_row(csr))

    def finish(self) -> None:
        """Write what is left."""
        self._array.finish()
        self._group.put(f"uns/sparsefeat/zeros_per_row/{self._key}", np.concatenate(self._zeros))

    @staticmethod
    def row_bytes(nnz: npt.NDArray[np.int64], n_features: int) -> npt.NDArray[np.int64]:
        """Bytes of each row before compression, from its number of non-zeros."""
        return np.full(len(nnz), 4 * n_features, np.int64)
