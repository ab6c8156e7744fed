"""What rows must take: the recipe that sizes are judged by, and an estimate of the least."""

import numcodecs
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

CHUNK = 1 << 18  # elements


def recipe_bytes(matrix: "csr_array[np.float32]") -> int:
    """Data, differences of the columns and row starts through Blosc, without a container."""
    blosc = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE, blocksize=1 << 20)
    starts = range(0, matrix.nnz, CHUNK)
    data = [matrix.data[start : start + CHUNK] for start in starts]
    columns = [matrix.indices[start : start + CHUNK].astype(np.int32) for start in starts]
    gaps = [np.diff(chunk, prepend=np.int32(0)) for chunk in columns]
    row_starts = matrix.indptr.astype(np.int64)
    return sum(len(blosc.encode(chunk)) for chunk in [*data, *gaps, row_starts])


def floor_bytes(matrix: "csr_array[np.float32]", n_channels: int) -> float:
    """Estimate what lossless coding takes, if non-zeros are drawn one by one.

    Where they are: each channel has its own share of them. What they are: sign, exponent and
    highest 7 bits of the mantissa have one distribution, the other 16 bits are noise. A coder that
    knows an image's neighbourhoods, or meets the same values again, may stay below.
    """
    n_places = matrix.shape[0] * matrix.shape[1] // n_channels
    shares = np.bincount(matrix.indices % n_channels, minlength=n_channels) / n_places
    columns = n_places * sum(entropy(np.array([share, 1 - share])) for share in shares)
    upper = np.bincount(matrix.data.view(np.uint32) >> 16)
    values = matrix.nnz * (entropy(upper / max(1, matrix.nnz)) + 16)
    return (columns + values) / 8


def entropy(shares: NDArray[np.float64]) -> float:
    """Bits that one of these takes on average."""
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum())
