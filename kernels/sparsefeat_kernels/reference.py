"""Plain numpy and Python versions of the kernels: slow, for tests to compare with."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels.csr import Csr, raise_invalid_row


def encode(x: npt.NDArray[np.float32]) -> Csr:
    """Encode dense rows as CSR, as `sparsefeat_kernels.encode` does."""
    nonzero = x != 0
    indptr = np.zeros(len(x) + 1, np.int64)
    np.cumsum(np.count_nonzero(nonzero, axis=1), out=indptr[1:])
    return Csr(indptr, np.nonzero(nonzero)[1].astype(np.int32), x[nonzero], x.shape[1])


def to_dense(csr: Csr) -> npt.NDArray[np.float32]:
    """Expand CSR to dense rows, as `sparsefeat_kernels.to_dense` does."""
    invalid = first_invalid_row(csr)
    if invalid is not None:
        raise_invalid_row(csr, invalid)
    dense = np.zeros((csr.n_rows, csr.n_columns), np.float32)
    for row in range(csr.n_rows):
        stored = slice(csr.indptr[row], csr.indptr[row + 1])
        dense[row, csr.indices[stored]] = csr.data[stored]
    return dense


def first_invalid_row(csr: Csr) -> int | None:
    """Find the first row with columns that are out of range or not strictly increasing."""
    for row in range(csr.n_rows):
        start, stop = csr.indptr[row].item(), csr.indptr[row + 1].item()
        if not 0 <= start <= stop <= csr.nnz:
            return row
        columns = csr.indices[start:stop].tolist()
        if columns != sorted(set(columns)):
            return row
        if columns and not 0 <= columns[0] <= columns[-1] < csr.n_columns:
            return row
    return None


def count_zeros_per_row(x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Count each row's zeros, as `sparsefeat_kernels.count_zeros_per_row` does."""
    zeros: npt.NDArray[np.int64] = (x == 0).sum(axis=1, dtype=np.int64)
    return zeros


def count_zeros_per_channel(x: npt.NDArray[np.float32], n_channels: int) -> npt.NDArray[np.int64]:
    """Count each channel's zeros, as `sparsefeat_kernels.count_zeros_per_channel` does."""
    is_zero = (x == 0).reshape(-1, n_channels)
    zeros: npt.NDArray[np.int64] = is_zero.sum(axis=0, dtype=np.int64)
    return zeros


def csr_zeros_per_row(csr: Csr) -> npt.NDArray[np.int64]:
    """Count zeros per row, as `sparsefeat_kernels.csr_zeros_per_row` does."""
    stored = np.zeros((csr.n_rows, csr.n_columns), bool)
    for row in range(csr.n_rows):
        stored[row, csr.indices[csr.indptr[row] : csr.indptr[row + 1]]] = True
    zeros: npt.NDArray[np.int64] = (~stored).sum(axis=1, dtype=np.int64)
    return zeros


def csr_zeros_per_channel(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count zeros per channel, as `sparsefeat_kernels.csr_zeros_per_channel` does."""
    n_elements = csr.n_rows * (csr.n_columns // n_channels)
    return n_elements - np.bincount(csr.indices % n_channels, minlength=n_channels)


def csr_zeros_per_position(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count zeros per position, as `sparsefeat_kernels.csr_zeros_per_position` does."""
    n_positions = csr.n_columns // n_channels
    stored = np.bincount(csr.indices // n_channels, minlength=n_positions)
    return csr.n_rows * n_channels - stored


def csr_active_rows_per_channel(csr: Csr, n_channels: int) -> npt.NDArray[np.int64]:
    """Count active rows, as `sparsefeat_kernels.csr_active_rows_per_channel` does."""
    active = np.zeros((csr.n_rows, n_channels), bool)
    for row in range(csr.n_rows):
        active[row, csr.indices[csr.indptr[row] : csr.indptr[row + 1]] % n_channels] = True
    rows: npt.NDArray[np.int64] = active.sum(axis=0, dtype=np.int64)
    return rows


def round_mantissa(values: npt.NDArray[np.float32], n_bits: int) -> npt.NDArray[np.float32]:
    """Round to fewer bits, as `sparsefeat_kernels.round_mantissa` does."""
    wide = np.where(np.isfinite(values), values, 0).astype(np.float64)
    # The spacing of rounded values is fixed below the smallest normal number.
    spacing = np.ldexp(1.0, np.maximum(np.frexp(wide)[1], -125) - 1 - n_bits)
    largest = np.ldexp(2 - 2.0**-n_bits, 127)
    rounded = np.clip(np.rint(wide / spacing) * spacing, -largest, largest)
    rounded = np.where((rounded == 0) & (values != 0), np.copysign(spacing, wide), rounded)
    narrow = np.copysign(rounded.astype(np.float32), values)
    return np.where(np.isfinite(values), narrow, values)


def round_half(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Round to half precision, as `sparsefeat_kernels.round_half` does."""
    finite = np.where(np.isfinite(values), values, 0)
    with np.errstate(under="ignore"):
        rounded = np.clip(finite, -65504, 65504).astype(np.float16).astype(np.float32)
    smallest = np.copysign(np.float32(2**-24), values)
    rounded = np.where((rounded == 0) & (values != 0), smallest, rounded)
    return np.where(np.isfinite(values), rounded, values)


def update_maxima(csr: Csr, maxima: npt.NDArray[np.float32]) -> None:
    """Raise maxima, as `sparsefeat_kernels.update_maxima` does."""
    np.fmax.at(maxima, csr.indices % len(maxima), csr.data)


def quantize_linear(
    csr: Csr, scales: npt.NDArray[np.float32], *, largest: int
) -> tuple[npt.NDArray[np.float32], int]:
    """Convert values to codes, as `sparsefeat_kernels.quantize_linear` does.

    Only the codes of exact rows are returned.
    """
    scale = scales[csr.indices % len(scales)]
    codes = np.rint(csr.data / scale.astype(np.float64)).astype(np.float32)
    exact = (codes * scale == csr.data) & (codes >= 1) & (codes <= largest)
    rows = [bool(exact[a:b].all()) for a, b in zip(csr.indptr, csr.indptr[1:], strict=False)]
    n_rows = rows.index(False) if False in rows else csr.n_rows
    return codes[: csr.indptr[n_rows]], n_rows


def quantize_squared(
    csr: Csr, scales: npt.NDArray[np.float32], *, largest: int = 255
) -> npt.NDArray[np.float32]:
    """Find the nearest of all squares, as `sparsefeat_kernels.quantize_squared` does."""
    squares = np.arange(1, largest + 1, dtype=np.float64) ** 2
    ratios = csr.data / scales.astype(np.float64)[csr.indices % len(scales)]
    nearest: npt.NDArray[np.float32] = 1 + np.abs(ratios[:, None] - squares).argmin(axis=1).astype(
        np.float32
    )
    return nearest


def dequantize(
    codes: npt.NDArray[np.float32],
    indices: npt.NDArray[np.int32],
    scales: npt.NDArray[np.float32],
    *,
    squared: bool,
) -> npt.NDArray[np.float32]:
    """Return the values of `codes`, which `sparsefeat_kernels.dequantize` writes in place."""
    values: npt.NDArray[np.float32] = scales[indices % len(scales)] * codes ** (1 + squared)
    return values


def sum_errors(csr: Csr, stored: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Sum up errors, as `sparsefeat_kernels.sum_errors` does."""
    sums = np.zeros((csr.n_rows, 4))
    for row in range(csr.n_rows):
        elements = slice(csr.indptr[row], csr.indptr[row + 1])
        finite = np.isfinite(csr.data[elements])
        exact = csr.data[elements][finite].astype(np.float64)
        other = stored[elements][finite].astype(np.float64)
        pairs = ((exact - other, exact - other), (exact, exact), (other, other), (exact, other))
        sums[row] = [np.vdot(one, two) for one, two in pairs]
    return sums


def convolve(
    images: npt.NDArray[np.float32],
    kernel: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    *,
    relu: bool = False,
) -> npt.NDArray[np.float64]:
    """Convolve directly, in double precision, as `sparsefeat_kernels.WinogradConvolution` does."""
    _, height, width, _ = images.shape
    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    result = np.broadcast_to(bias.astype(np.float64), (*images.shape[:3], len(bias))).copy()
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            result += window @ kernel[:, :, row, column].astype(np.float64).T
    return np.maximum(result, 0) if relu else result


def max_pool(images: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Take the maxima of 2x2 elements of (N, H, W, C); an odd last row or column is left out."""
    n, height, width, channels = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    windows = even.reshape(n, height // 2, 2, width // 2, 2, channels)
    maxima: npt.NDArray[np.floating[Any]] = windows.max(axis=(2, 4))
    return maxima
