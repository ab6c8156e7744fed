"""What layers take: in memory, as they are stored, and an estimate of what they could take."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsefeat.store import JSON, Store, info

SAMPLE_ROWS = 64
SAMPLE_ELEMENTS = 1 << 24  # a row of block1_conv1 has 3.2 million
MIN_VALUES = 10_000  # an entropy from fewer would look better than it is

_GROUP_ELEMENTS = 1 << 22  # read at once
_DISTINCT_VALUES = 1 << 20  # looked at for values that repeat
_REPEATS = 16  # how often each must be there on average for whole values to be counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """The estimate, and what it is made of.

    `n_bytes` is None where there were fewer than `MIN_VALUES` values to take an entropy of.
    """

    n_bytes: int | None
    index_bits: float  # for where the non-zeros are, all rows
    value_bits: float | None  # for each non-zero
    sampled_rows: int
    sampled_values: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """Bytes of one layer, all rows.

    `dense` is float32, 4 bytes an element; `csr` float32 values, int32 columns and int64 row
    pointers as scipy holds them, not compressed; `stored` what its files have on disk, encoded
    as `encoding` says ("csr", "dense" or "mixed").
    """

    layer: str
    encoding: str
    dense: int
    csr: int
    stored: int
    floor: Floor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Bytes of a store's layers.

    `total` is all of its files, those of layers that are left out here among them; `others` is
    the number of these, and `others_stored` what they take. What then remains are tables, counts
    and metadata.
    """

    layers: tuple[LayerSize, ...]
    total: int
    others: int
    others_stored: int

    @property
    def tables(self) -> int:
        """Bytes that are no layer's data."""
        return self.total - self.others_stored - sum(size.stored for size in self.layers)


def measure_sizes(store: Store, layers: Sequence[str], *, seed: int = 0) -> Sizes:
    """Measure what `layers` of a store take.

    Raises
    ------
    StoreCorruptError
        What is on disk is not what was written.
    """
    facts = info(store.folder)
    entries = _mapping(facts["layers"])
    stored = {name: _number(_mapping(entry)["bytes_stored"]) for name, entry in entries.items()}
    sizes = []
    for name in layers:
        entry = _mapping(entries[name])
        nnz = _number(entry["nnz"])
        sizes.append(
            LayerSize(
                layer=name,
                encoding=str(entry["encoding"]),
                dense=_number(entry["bytes_dense"]),
                csr=8 * nnz + 8 * (store.n_rows + 1),
                stored=stored[name],
                floor=estimate_floor(store, name, seed=seed),
            )
        )
    others = [n_bytes for name, n_bytes in stored.items() if name not in layers]
    return Sizes(
        layers=tuple(sizes),
        total=_number(facts["bytes"]),
        others=len(others),
        others_stored=sum(others),
    )


def _mapping(value: JSON) -> dict[str, JSON]:
    assert isinstance(value, dict)
    return value


def _number(value: JSON) -> int:
    assert isinstance(value, int)
    return value


def estimate_floor(store: Store, layer: str, *, seed: int = 0) -> Floor:
    """Estimate what lossless coding of a layer needs, under a simple model of its numbers.

    The model has two parts, added up:

    - *Where the non-zeros are.* Within a channel, every way to arrange its active elements counts
      as equally likely: log2 of the number of ways, and log2(n + 1) to say how many of the n
      elements are active. Where one such count for the whole layer needs fewer bits (few rows,
      few positions), that one is taken. The counts are those of all rows.
    - *What they are.* The entropy of the upper 16 bits of the float32 values (sign, exponent, 7
      bits of mantissa), and of each of the two lower bytes, as if independent; or the entropy
      of whole values, if that is less and each of them repeats 16 times or more on average, as
      those of int8 models do. Where a part has codes, they take the place of values. Estimated
      from up to 64 rows drawn at random with `seed`, fewer where rows are large (2^24 elements
      in all).

    It is no bound: a coder that makes use of what neighbouring positions and channels have in
    common may need less. Neither does it count the tables of frequencies that a coder needs.

    Raises
    ------
    LayerError
        There is no such layer.
    StoreCorruptError
        What is on disk is not what was written.
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
    """Draw the rows whose values are looked at, in ascending order."""
    count = min(n_rows, SAMPLE_ROWS, max(1, SAMPLE_ELEMENTS // n_features))
    drawn = np.random.default_rng(seed).choice(n_rows, count, replace=False)
    return np.sort(drawn).astype(np.int64)


def count_index_bits(zeros_per_channel: npt.NDArray[np.int64], n_each: int) -> float:
    """Count the bits that tell where the non-zeros are: see `estimate_floor`.

    Parameters
    ----------
    zeros_per_channel
        int64 (C,)
    n_each
        Elements of one channel, over all rows and positions.

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
    """How often the bits of values are what they are, over as many values as are added."""

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
        kept = bits[: _DISTINCT_VALUES - self._n_whole]
        self._whole.append(kept.copy())
        self._n_whole += len(kept)

    def entropy(self) -> float:
        """Give bits for each value: see `estimate_floor`."""
        apart = _entropy(self._upper) + sum(map(_entropy, self._lower))
        _, counts = np.unique(np.concatenate(self._whole), return_counts=True)
        if len(counts) * _REPEATS <= self._n_whole:
            return min(apart, _entropy(counts))
        return apart


def _code_length(n: npt.NDArray[np.int64], k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """log2 of (n choose k) and of n + 1."""
    from scipy.special import gammaln

    ways = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return np.asarray((np.maximum(ways, 0.0) + np.log(n + 1.0)) / np.log(2.0))


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    """Bits for each of the things counted."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) if len(shares) > 1 else 0.0
