"""One layer of one part while it is being written: its encoding is chosen by measuring."""

import numpy as np
import numpy.typing as npt

from sparsefeat.records import Layer
from sparsefeat.store.chunks import ChunkEncoder
from sparsefeat.store.codecs import Chain
from sparsefeat.store.encoding import CsrWriter, DenseWriter
from sparsefeat.store.group import PartGroup
from sparsefeat.store.header import StoredLayer
from sparsefeat.store.layout import CHUNK, layer_key
from sparsefeat_kernels import Csr, csr_zeros_per_channel, to_dense

SAMPLE_ROWS = 8
SAMPLE_ELEMENTS = 1 << 20  # enough for a sound choice; a first convolution's row has 3.2 million


class LayerWriter:
    """Writes one layer of one part, and counts its zeros.

    The first rows are kept back and compressed both ways; the smaller encoding is the part's.
    """

    def __init__(self, group: PartGroup, layer: Layer) -> None:
        self._group, self.layer = group, layer
        self._sample: list[Csr] = []
        self._sample_rows = max(1, min(SAMPLE_ROWS, SAMPLE_ELEMENTS // layer.n_features))
        self._csr_bytes = self._dense_bytes = 0
        self._writer: CsrWriter | DenseWriter | None = None
        self._zeros = np.zeros(layer.n_channels, np.int64)
        self.n_rows = 0
        self.nnz = 0
        self.n_bytes = 0  # before compression

    def row_bytes(self, csr: Csr) -> npt.NDArray[np.int64]:
        """Bytes that each row would take before compression."""
        kind = DenseWriter if isinstance(self._writer, DenseWriter) else CsrWriter
        return kind.row_bytes(np.diff(csr.indptr), self.layer.n_features)

    def append(self, csr: Csr) -> None:
        """Append rows; nothing of `csr` is kept."""
        self._zeros += csr_zeros_per_channel(csr, self.layer.n_channels)
        self.n_rows += csr.n_rows
        self.nnz += csr.nnz
        self.n_bytes += int(self.row_bytes(csr).sum())
        if self._writer is not None:
            self._writer.append(csr)
            return
        self._sample.append(Csr(csr.indptr, csr.indices.copy(), csr.values.copy(), csr.n_columns))
        if self.n_rows >= self._sample_rows:
            self._decide()

    def finish(self) -> StoredLayer:
        """Write what is left; tell how the layer was stored."""
        writer = self._writer or self._decide()
        writer.finish()
        name = f"uns/sparsefeat/zeros_per_channel/{layer_key(self.layer.name)}"
        self._group.put(name, self._zeros)
        return StoredLayer(
            layer=self.layer,
            encoding="csr" if isinstance(writer, CsrWriter) else "dense",
            nnz=self.nnz,
            measured_rows=min(self.n_rows, self._sample_rows),
            csr_bytes=self._csr_bytes,
            dense_bytes=self._dense_bytes,
        )

    def _decide(self) -> CsrWriter | DenseWriter:
        rows = [csr.rows(row, row + 1) for csr in self._sample for row in range(csr.n_rows)]
        sample = rows[: self._sample_rows]
        if sample:
            # Together, as they will lie in a chunk: alone, short rows compress worse.
            self._csr_bytes = (
                8 * len(sample)
                + _compressed(np.concatenate([row.values for row in sample]))
                + _compressed(np.concatenate([row.indices for row in sample]), differences=True)
            )
            self._dense_bytes = _compressed(np.concatenate([to_dense(row)[0] for row in sample]))
        kind = DenseWriter if self._dense_bytes < self._csr_bytes else CsrWriter
        writer = kind(self._group, self.layer)
        self._writer, self.n_bytes = writer, 0
        for csr in self._sample:
            self.n_bytes += int(self.row_bytes(csr).sum())
            writer.append(csr)
        self._sample.clear()
        return writer


def _compressed(values: npt.NDArray[np.generic], *, differences: bool = False) -> int:
    """Measure elements as a store would compress them, chunk by chunk."""
    encoder = ChunkEncoder(Chain(dtype=values.dtype, differences=differences))
    chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
    return sum(len(encoder.compress(chunk)) for chunk in chunks)
