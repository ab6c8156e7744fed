"""One layer of one part while it is being written: its encoding is chosen by measuring."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from sparsefeat.store.chunks import ChunkEncoder
from sparsefeat.store.codecs import Chain
from sparsefeat.store.encoding import CsrWriter, DenseWriter
from sparsefeat.store.forms import Form, Roots, Rounded, Steps, root_steps
from sparsefeat.store.group import PartGroup
from sparsefeat.store.header import StoredLayer
from sparsefeat.store.layout import CHUNK, layer_key
from sparsefeat.store.spool import Spool
from sparsefeat.store.values import Values
from sparsefeat.types import ChannelSteps, Layer
from sparsefeat_kernels import Csr, csr_zeros_per_channel, raise_maxima, to_dense

SAMPLE_ROWS = 8
SAMPLE_ELEMENTS = 1 << 20  # enough for a sound choice; a first convolution's row has 3.2 million


class LayerWriter:
    """Writes one layer of one part, and counts its zeros.

    The first rows are kept back and compressed both ways; the smaller encoding is the part's.

    Parameters
    ----------
    group
        The part.
    layer
        Which.
    values
        How exactly its values are kept.
    steps
        What they may be whole numbers of: where those of the first rows are, the part holds
        the numbers.
    form
        The form of values that have one already.
    """

    def __init__(
        self,
        group: PartGroup,
        layer: Layer,
        values: Values,
        steps: ChannelSteps | None = None,
        form: Form | None = None,
    ) -> None:
        self._group, self.layer = group, layer
        self._values, self._steps = values, steps
        self._spool: Spool | None = None
        self._maxima = np.zeros(layer.n_channels, np.float32)
        if form is None and values.kind == "uint8":
            # The largest value, which 255 stands for, may come last.
            file = group.path / f".{layer_key(layer.name)}.spool"
            self._spool = Spool(file, layer.n_features)
        self._form = form or (Form() if values.kind in ("float32", "uint8") else Rounded(values))
        self._sample_rows = max(1, min(SAMPLE_ROWS, SAMPLE_ELEMENTS // layer.n_features))
        self._csr_bytes = self._dense_bytes = 0
        self._writer: CsrWriter | DenseWriter | None = None
        self._zeros = np.zeros(layer.n_channels, np.int64)
        self.n_rows = 0
        self.nnz = 0
        self.n_bytes = 0  # before compression
        self._held: list[Csr] = []

    def row_bytes(self, csr: Csr) -> npt.NDArray[np.int64]:
        """Bytes that each row would take before compression."""
        kind = DenseWriter if isinstance(self._writer, DenseWriter) else CsrWriter
        return kind.row_bytes(np.diff(csr.indptr), self.layer.n_features)

    def n_fitting(self, csr: Csr) -> int:
        """Count the rows, from the first on, whose values the part can hold."""
        return self._form.n_fitting(csr)

    def append(self, csr: Csr) -> None:
        """Append rows; nothing of `csr` is kept."""
        self._zeros += csr_zeros_per_channel(csr, self.layer.n_channels)
        self.n_rows += csr.n_rows
        self.nnz += csr.nnz
        self.n_bytes += int(self.row_bytes(csr).sum())
        if self._writer is not None:
            self._write(csr, self._writer)
        elif self._spool is not None:
            raise_maxima(csr, self._maxima)
            self._spool.append(csr)
        else:
            self._held.append(Csr(csr.indptr, csr.indices.copy(), csr.values.copy(), csr.n_columns))
            if self.n_rows >= self._sample_rows:
                self._decide()

    def finish(self) -> StoredLayer:
        """Write what is left; tell how the layer was stored."""
        writer = self._writer or self._decide()
        writer.finish()
        key = layer_key(self.layer.name)
        self._group.put(f"uns/sparsefeat/zeros_per_channel/{key}", self._zeros)
        if self._form.steps is not None:
            self._group.group("uns/sparsefeat/steps", "dict")
            self._group.put(f"uns/sparsefeat/steps/{key}", self._form.steps)
        return StoredLayer(
            layer=self.layer,
            encoding="csr" if isinstance(writer, CsrWriter) else "dense",
            nnz=self.nnz,
            measured_rows=min(self.n_rows, self._sample_rows),
            csr_bytes=self._csr_bytes,
            dense_bytes=self._dense_bytes,
            values=self._form.stored(),
        )

    def _write(self, csr: Csr, writer: CsrWriter | DenseWriter) -> None:
        written = self._form.written(csr)
        self._form.note(csr, written)
        writer.append(written)

    def _decide(self) -> CsrWriter | DenseWriter:
        held: Iterable[Csr] = self._held
        if self._spool is not None:
            held, self._form = self._spool, Roots(root_steps(self._maxima))
        elif self._steps is not None and self._values.lossless and self._held:
            form = Steps(self._steps)
            if all(form.n_fitting(csr) == csr.n_rows for csr in self._held):
                self._form = form
        kind = self._smaller(held)
        writer = kind(self._group, self.layer, self._form.chain)
        self._writer, self.n_bytes = writer, 0
        for csr in held:
            self.n_bytes += int(self.row_bytes(csr).sum())
            self._write(csr, writer)
        self._held.clear()
        if self._spool is not None:
            self._spool.clear()
        return writer

    def _smaller(self, held: Iterable[Csr]) -> type[CsrWriter] | type[DenseWriter]:
        """Compress the first rows both ways."""
        sample: list[Csr] = []
        for csr in held:
            missing = self._sample_rows - len(sample)
            some = self._form.written(csr.rows(0, min(csr.n_rows, missing)))
            sample += [some.rows(row, row + 1) for row in range(some.n_rows)]
            if len(sample) == self._sample_rows:
                break
        if sample:
            # Together, as they will lie in a chunk: alone, short rows compress worse.
            stored, columns = self._form.chain.stored, np.dtype(np.int32)
            self._csr_bytes = (
                8 * len(sample)
                + _compressed(np.concatenate([row.values for row in sample]), stored)
                + _compressed(np.concatenate([row.indices for row in sample]), columns)
            )
            dense = np.concatenate([to_dense(row)[0] for row in sample])
            self._dense_bytes = _compressed(dense, stored)
        return DenseWriter if self._dense_bytes < self._csr_bytes else CsrWriter


def _compressed(values: npt.NDArray[np.generic], dtype: np.dtype[np.generic]) -> int:
    """Measure elements as a store would compress them, chunk by chunk."""
    encoder = ChunkEncoder(Chain(dtype=dtype, differences=dtype == np.int32))
    values = values.astype(dtype, copy=False)
    chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
    return sum(len(encoder.compress(chunk)) for chunk in chunks)
