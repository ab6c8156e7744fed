"""Counting zeros batch by batch: rows in, counts out."""

import numpy as np

from sparsefeat.analysis.counts import Int64, LayerZeros
from sparsefeat.types import Layer
from sparsefeat_kernels import (
    Csr,
    csr_active_rows_per_channel,
    csr_zeros_per_channel,
    csr_zeros_per_position,
    csr_zeros_per_row,
)


class Places:
    """Counts, of one layer, what only the indices tell: zeros by position, and active channels.

    Its memory doesn't grow with the number of rows.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._per_position = np.zeros(layer.n_features // layer.n_channels, np.int64)
        self._active_rows = np.zeros(layer.n_channels, np.int64)

    def add(self, csr: Csr) -> None:
        """Count some rows; the values are not looked at."""
        if len(self.shape) == 2:
            self._per_position += csr_zeros_per_position(csr, self._layer.n_channels)
        self._active_rows += csr_active_rows_per_channel(csr, self._layer.n_channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The positions' extents: (H, W), or () where there are none."""
        return self._layer.shape[:-1]

    @property
    def per_position(self) -> Int64 | None:
        """As in `LayerZeros`."""
        return self._per_position.reshape(self.shape) if len(self.shape) == 2 else None

    @property
    def active_rows(self) -> Int64:
        """As in `LayerZeros`."""
        return self._active_rows


class Accumulator:
    """Counts all there is to count of one layer.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsefeat_kernels import encode
    >>> accumulator = Accumulator(Layer(name="conv", shape=(1, 2, 2)))
    >>> accumulator.add(encode(np.array([[0, 5, 0, 6]], np.float32)))
    >>> accumulator.add(encode(np.array([[7, 8, 0, 0]], np.float32)))
    >>> zeros = accumulator.result()
    >>> zeros.per_row, zeros.per_channel, zeros.per_position, zeros.active_rows
    (array([2, 2]), array([3, 1]), array([[1, 3]]), array([1, 2]))
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._per_row: list[Int64] = []
        self._per_channel = np.zeros(layer.n_channels, np.int64)
        self._places = Places(layer)

    def add(self, csr: Csr) -> None:
        """Count some rows, which hold no stored zeros."""
        self._per_row.append(csr_zeros_per_row(csr))
        self._per_channel += csr_zeros_per_channel(csr, self._layer.n_channels)
        self._places.add(csr)

    def result(self) -> LayerZeros:
        """Give what was counted so far."""
        return LayerZeros(
            layer=self._layer,
            per_row=np.concatenate([np.empty(0, np.int64), *self._per_row]),
            per_channel=self._per_channel.copy(),
            per_position=None if (found := self._places.per_position) is None else found.copy(),
            active_rows=self._places.active_rows.copy(),
        )
