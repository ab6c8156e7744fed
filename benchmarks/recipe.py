"""Sizes to compare with: a reference for compressing rows, and an estimate of the least bytes."""

import numcodecs
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

CHUNK = 1 << 18  # elements


def recipe_bytes(matrix: "csr_array[np.float32]") -> int:
    """Count bytes of values, differences of columns and row starts, compressed by Blosc."""
    blosc = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE, blocksize=1 << 20)
    starts = range(0, matrix.nnz, CHUNK)
    data = [matrix.data[start : start + CHUNK] for start in starts]
    columns = [matrix.indices[start : start + CHUNK].astype(np.int32) for start in starts]
    gaps = [np.diff(chunk, prepend=np.int32(0)) for chunk in columns]
    row_starts = matrix.indptr.astype(np.int64)
    return sum(len(blosc.encode(chunk)) for chunk in [*data, *gaps, row_starts])


def floor_bytes(matrix: "csr_array[np.float32]", n_channels: int) -> float:
    """Estimate the bytes of lossless coding, if non-zeros are independent.

    For their positions, each channel has its own density. For their values, sign, exponent and the
    highest 7 bits of the mantissa have one distribution, and the other 16 bits are noise. A coder
    that uses neighbouring positions or repeated values may need less.
    """
    n_places = matrix.shape[0] * matrix.shape[1] // n_channels
    shares = np.bincount(matrix.indices % n_channels, minlength=n_channels) / n_places
    columns = n_places * sum(entropy(np.array([share, 1 - share])) for share in shares)
    upper = np.bincount(matrix.data.view(np.uint32) >> 16)
    values = matrix.nnz * (entropy(upper / max(1, matrix.nnz)) + 16)
    return (columns + values) / 8


def entropy(shares: NDArray[np.float64]) -> float:
    """Compute the mean number of bits per element."""
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum())
