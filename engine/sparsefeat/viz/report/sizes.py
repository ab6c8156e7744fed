"""Measures the bytes of layers in memory and on disk, and estimates a lower limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat.store import Store, info

SAMPLE_ROWS = 64
SAMPLE_ELEMENTS = 1 << 24  # a row of block1_conv1 has 3.2 million
MIN_VALUES = 10_000  # fewer values underestimate the entropy

_GROUP_ELEMENTS = 1 << 22  # elements read at once
_DISTINCT_VALUES = 1 << 20  # values searched for repetitions
_REPEATS = 16  # whole values are counted if each occurs this often on average


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """An estimate of the bytes that lossless coding of a layer needs, and its two terms.

    `n_bytes` and `value_bits` are None if fewer than `MIN_VALUES` values were sampled.
    """

    n_bytes: int | None
    index_bits: float  # bits for the positions of all non-zeros, over all rows
    value_bits: float | None  # bits for the value of one non-zero
    sampled_rows: int
    sampled_values: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """Bytes of one layer, over all rows.

    `dense`: float32, 4 bytes per element. `csr`: float32 values, int32 indices and int64 indptr,
    uncompressed, as scipy holds them. `stored`: the layer's files on disk, whose `encoding` is
    "csr", "dense" or "mixed".
    """

    layer: str
    encoding: str
    dense: int
    csr: int
    stored: int
    floor: Floor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Bytes of a store.

    `layers` are those that were measured; `others` is the number of other layers, and
    `others_stored` their bytes on disk. `total` counts all files: layers, tables, counts and
    metadata.
    """

    layers: tuple[LayerSize, ...]
    total: int
    others: int
    others_stored: int

    @property
    def tables(self) -> int:
        """Bytes of tables, counts and metadata."""
        return self.total - self.others_stored - sum(size.stored for size in self.layers)


def measure_sizes(store: Store, layers: Sequence[str], *, seed: int = 0) -> Sizes:
    """Measure the bytes of `layers` of a store.

    Raises
    ------
    StoreCorruptError
        A file of the store is damaged.
    """
    facts: dict[str, Any] = info(store.folder)
    entries = facts["layers"]
    sizes = [
        LayerSize(
            layer=name,
            encoding=entries[name]["encoding"],
            dense=entries[name]["bytes_dense"],
            csr=8 * entries[name]["nnz"] + 8 * (store.n_rows + 1),
            stored=entries[name]["bytes_stored"],
            floor=estimate_floor(store, name, seed=seed),
        )
        for name in layers
    ]
    others = [entry["bytes_stored"] for name, entry in entries.items() if name not in layers]
    return Sizes(
        layers=tuple(sizes),
        total=facts["bytes"],
        others=len(others),
        others_stored=sum(others),
    )


def estimate_floor(store: Store, layer: str, *, seed: int = 0) -> Floor:
    """Estimate the bytes that lossless coding of a layer needs, under a simple model.

    The estimate is the sum of two terms:

    - *Positions of the non-zeros.* Within a channel of n elements, of which k are active, all
      arrangements count as equally likely: log2(n choose k) bits, and log2(n + 1) bits for k. If
      this formula needs fewer bits for the layer as a whole, as with few rows or positions, it is
      applied to the whole layer. This term is computed from all rows.
    - *Values of the non-zeros.* The entropy of the upper 16 bits of the float32 values (sign,
      exponent, 7 bits of mantissa) plus those of the two lower bytes, taken as independent. If
      values repeat 16 times or more on average, as those of int8 models do, and the entropy of
      whole values is less, that is used. If a part stores codes, the codes are used. This term is
      estimated from up to 64 rows drawn at random with `seed`, and at most 2^24 elements.

    It isn't a lower bound: a coder that models what neighbouring positions and channels have in
    common may need fewer bytes. Nor does it count the frequency tables that a coder needs.

    Raises
    ------
    LayerError
        The store doesn't have the layer.
    StoreCorruptError
        A file of the store is damaged.
    """
    zeros = store[layer].zeros()
    shape = store.layers[layer]
    n_elements = store.n_rows * shape.n_features
    nnz = n_elements - int(zeros.per_row.sum())
    index_bits = count_index_bits(zeros.per_channel, n_elements // shape.n_channels)
    rows = draw_rows(store.n_rows, shape.n_features, seed=seed)
    values = ValueCounts()
    step = max(1, _GROUP_ELEMENTS // shape.n_features)
    for start in range(0, len(rows), step):
        values.add(store[layer].as_stored(rows[start : start + step]).data)
    value_bits = values.entropy() if values.n_values >= MIN_VALUES else None
    return Floor(
        n_bytes=None if value_bits is None else round((index_bits + nnz * value_bits) / 8),
        index_bits=index_bits,
        value_bits=value_bits,
        sampled_rows=len(rows),
        sampled_values=values.n_values,
    )


def draw_rows(n_rows: int, n_features: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Draw the rows whose values are sampled, int64 in ascending order."""
    count = min(n_rows, SAMPLE_ROWS, max(1, SAMPLE_ELEMENTS // n_features))
    drawn = np.random.default_rng(seed).choice(n_rows, count, replace=False)
    return np.sort(drawn).astype(np.int64)


def count_index_bits(zeros_per_channel: npt.NDArray[np.int64], n_each: int) -> float:
    """Count the bits for the positions of the non-zeros; see `estimate_floor`.

    Parameters
    ----------
    zeros_per_channel
        int64 (C,).
    n_each
        Number of elements of one channel, over all rows and positions.

    Examples
    --------
    >>> round(count_index_bits(np.array([2, 0]), 4), 3)  # log2(6) + log2(5), and log2(5)
    7.229
    """
    active = n_each - zeros_per_channel
    by_channel = float(_code_length(np.full(len(active), n_each), active).sum())
    whole = float(_code_length(np.array([n_each * len(active)]), active.sum(keepdims=True))[0])
    return min(by_channel, whole)


class ValueCounts:
    """Counts bit patterns of float32 values, for their entropy."""

    def __init__(self) -> None:
        self.n_values = 0
        self._upper = np.zeros(1 << 16, np.int64)
        self._lower = np.zeros((2, 1 << 8), np.int64)
        self._whole: list[npt.NDArray[np.uint32]] = []
        self._n_whole = 0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count float32 (n,)."""
        bits = np.ascontiguousarray(values).view(np.uint32)
        self.n_values += len(bits)
        self._upper += np.bincount(bits >> 16, minlength=1 << 16)
        for byte, counts in enumerate(self._lower):
            counts += np.bincount((bits >> (8 * byte)) & 0xFF, minlength=1 << 8)
        whole = bits[: _DISTINCT_VALUES - self._n_whole]
        self._whole.append(whole.copy())
        self._n_whole += len(whole)

    def entropy(self) -> float:
        """Return the bits per value; see `estimate_floor`."""
        apart = _entropy(self._upper) + sum(map(_entropy, self._lower))
        _, counts = np.unique(np.concatenate(self._whole), return_counts=True)
        if len(counts) * _REPEATS <= self._n_whole:
            return min(apart, _entropy(counts))
        return apart


def _code_length(n: npt.NDArray[np.int64], k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return log2(n choose k) + log2(n + 1)."""
    from scipy.special import gammaln

    ways = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return np.asarray((np.maximum(ways, 0.0) + np.log(n + 1.0)) / np.log(2.0))


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    """Return the entropy of a distribution of counts, in bits."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) if len(shares) > 1 else 0.0
