"""Exact counts of a layer's zeros, by row, channel and position."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sparsefeat.types import Layer
from sparsefeat_kernels import (
    Csr,
    csr_active_rows_per_channel,
    csr_zeros_per_channel,
    csr_zeros_per_position,
    csr_zeros_per_row,
)

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Mean and spread over images.

    `std` is the sample standard deviation (divisor N - 1), None for fewer than two images. Without
    images everything is None.
    """

    mean: float | None
    std: float | None
    min: float | None
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None
    max: float | None


def compute_spread(values: Float64) -> Spread:
    """Compute the spread of float64 (N,), as `pandas.Series.describe` does.

    Examples
    --------
    >>> compute_spread(np.array([0.5, 0.75, 1.0])).upper_quartile
    0.875
    """
    import pandas as pd

    _, *figures = pd.Series(values, dtype="float64").describe().tolist()
    named = zip(fields(Spread), figures, strict=True)
    return Spread(**{field.name: None if np.isnan(value) else value for field, value in named})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LayerZeros:
    """The zeros of one layer over a set of images; one image is one row.

    0.0 and -0.0 are zeros. An element that isn't zero is *active*.

    Attributes
    ----------
    layer
        The layer's name, and its shape for one image: (H, W, C), or (F,), where each of the F
        units counts as a channel.
    per_row
        int64 (N,): zeros in each row.
    per_channel
        int64 (C,): zeros in each channel over all rows and positions.
    per_position
        int64 (H, W): zeros at each position over all rows and channels. None if positions
        weren't counted, or if the layer has none.
    active_rows
        int64 (C,): number of rows in which the channel is active at one position or more. None
        if it wasn't counted.

    Examples
    --------
    >>> counts = LayerZeros(
    ...     layer=Layer(name="fc1", shape=(3,)),
    ...     per_row=np.array([1, 2]),
    ...     per_channel=np.array([2, 1, 0]),
    ...     per_position=None,
    ...     active_rows=None,
    ... )
    >>> counts.sparsity, counts.dead, counts.always_on
    (0.5, array([0]), array([2]))
    """

    layer: Layer
    per_row: Int64
    per_channel: Int64
    per_position: Int64 | None
    active_rows: Int64 | None

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The layer's shape for one image."""
        return self.layer.shape

    @property
    def n_rows(self) -> int:
        """Number of images."""
        return len(self.per_row)

    @property
    def n_positions(self) -> int:
        """Number of positions of one image: H * W, or 1 for a layer of shape (F,)."""
        return self.layer.n_features // self.layer.n_channels

    @property
    def n_elements(self) -> int:
        """Number of elements in all rows."""
        return self.n_rows * self.layer.n_features

    @property
    def n_zeros(self) -> int:
        """Number of zeros in all rows."""
        return int(self.per_row.sum())

    @property
    def sparsity(self) -> float | None:
        """Share of zeros, 0 to 1: exactly ``np.mean(x == 0)``. None without rows."""
        return self.n_zeros / self.n_elements if self.n_elements else None

    @property
    def row_sparsity(self) -> Float64:
        """Share of zeros in each row, float64 (N,)."""
        return self.per_row / self.layer.n_features

    @property
    def channel_sparsity(self) -> Float64:
        """Share of zeros in each channel, float64 (C,); NaN without rows."""
        return _shares(self.per_channel, self.n_rows * self.n_positions)

    @property
    def position_sparsity(self) -> Float64 | None:
        """Share of zeros at each position, float64 (H, W); None if it wasn't counted."""
        if self.per_position is None:
            return None
        return _shares(self.per_position, self.n_rows * self.layer.n_channels)

    @property
    def spread(self) -> Spread:
        """Mean, standard deviation, minimum, quartiles and maximum of `row_sparsity`."""
        return compute_spread(self.row_sparsity)

    @property
    def dead(self) -> Int64:
        """Numbers of the channels that are zero at every position of every image, from 0.

        They are dead for these images only: another image may activate them. Empty without rows.
        """
        return self._channels(self.per_channel == self.n_rows * self.n_positions)

    @property
    def always_on(self) -> Int64 | None:
        """Numbers of the channels that are active at one position or more of every image.

        None if active rows weren't counted; a layer of shape (F,) doesn't need them.
        """
        if self.active_rows is not None:
            return self._channels(self.active_rows == self.n_rows)
        return self.never_zero if self.n_positions == 1 else None

    @property
    def never_zero(self) -> Int64:
        """Numbers of the channels that are active at every position of every image."""
        return self._channels(self.per_channel == 0)

    def _channels(self, chosen: npt.NDArray[np.bool_]) -> Int64:
        return np.flatnonzero(chosen & (self.n_rows > 0)).astype(np.int64)


class PositionCounts:
    """Counts zeros by position, and active rows by channel, from the indices of one layer.

    Its memory doesn't grow with the number of rows. The counts are those of `LayerZeros`; `add`
    replaces the arrays and doesn't change them.
    """

    def __init__(self, layer: Layer) -> None:
        self._n_channels = layer.n_channels
        self.per_position: Int64 | None = None  # of a layer without positions
        if len(layer.shape) == 3:
            self.per_position = np.zeros(layer.shape[:-1], np.int64)
        self.active_rows: Int64 = np.zeros(layer.n_channels, np.int64)

    def add(self, csr: Csr) -> None:
        """Count some rows; the values aren't read."""
        if self.per_position is not None:
            counts = csr_zeros_per_position(csr, self._n_channels)
            self.per_position = self.per_position + counts.reshape(self.per_position.shape)
        self.active_rows = self.active_rows + csr_active_rows_per_channel(csr, self._n_channels)


class Accumulator:
    """Counts the zeros of one layer, batch by batch.

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
        self._positions = PositionCounts(layer)

    def add(self, csr: Csr) -> None:
        """Count some rows, whose values must not contain zeros."""
        self._per_row.append(csr_zeros_per_row(csr))
        self._per_channel = self._per_channel + csr_zeros_per_channel(csr, self._layer.n_channels)
        self._positions.add(csr)

    def result(self) -> LayerZeros:
        """Return the counts so far."""
        return LayerZeros(
            layer=self._layer,
            per_row=np.concatenate([np.empty(0, np.int64), *self._per_row]),
            per_channel=self._per_channel,
            per_position=self._positions.per_position,
            active_rows=self._positions.active_rows,
        )


def _shares(counts: Int64, of: int) -> Float64:
    return counts / of if of else np.full(counts.shape, np.nan)
