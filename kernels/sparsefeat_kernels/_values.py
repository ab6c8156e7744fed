"""The compiled kernels that round and quantize values."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel

MAGNITUDE = np.uint32(0x7FFFFFFF)
SIGN = np.uint32(0x80000000)
INFINITY = np.uint32(0x7F800000)
HALF_NORMAL = np.uint32(0x38800000)  # 2**-14, the smallest normal half
HALF_LARGEST = np.uint32(0x477FE000)  # 65,504
HALF_UNITS = np.float32(2**24)  # multiples of the smallest half in 1


@kernel
def round_mantissas(
    bits: npt.NDArray[np.uint32], dropped: int, rounded: npt.NDArray[np.uint32]
) -> None:
    """Round float32 bit patterns to nearest even so that their last `dropped` bits are 0.

    Values that are not finite are left unchanged. A finite value stays finite, and a non-zero
    value stays non-zero.
    """
    unit = np.uint32(1 << dropped)
    mask = np.uint32(0xFFFFFFFF - ((1 << dropped) - 1))
    below_half = np.uint32((1 << (dropped - 1)) - 1) if dropped else np.uint32(0)
    shift = np.uint32(dropped)
    for i in range(len(bits)):
        magnitude = bits[i] & MAGNITUDE
        odd = (magnitude >> shift) & np.uint32(1) if dropped else np.uint32(0)
        nearest = (magnitude + below_half + odd) & mask
        if nearest >= INFINITY:
            nearest = magnitude & mask
        if nearest == 0 and magnitude != 0:
            nearest = unit
        if magnitude >= INFINITY:
            nearest = magnitude
        rounded[i] = nearest | (bits[i] & SIGN)


@kernel
def round_halves(values: npt.NDArray[np.float32], rounded: npt.NDArray[np.float32]) -> None:
    """Round to half precision, to nearest even, stored as float32; non-zero stays non-zero.

    Magnitudes above the largest half become the largest half.
    """
    bits, patterns = values.view(np.uint32), rounded.view(np.uint32)
    for i in range(len(values)):
        magnitude = bits[i] & MAGNITUDE
        # Normal halves have 10 bits of mantissa.
        odd = (magnitude >> np.uint32(13)) & np.uint32(1)
        normal = (magnitude + np.uint32(0xFFF) + odd) & np.uint32(0xFFFFE000)
        units = np.rint(np.abs(values[i]) * HALF_UNITS)
        if units == 0 and magnitude != 0:
            units = np.float32(1)
        small = units / HALF_UNITS
        if magnitude >= INFINITY:
            patterns[i] = bits[i]
        elif magnitude >= HALF_NORMAL:
            patterns[i] = min(normal, HALF_LARGEST) | (bits[i] & SIGN)
        else:
            rounded[i] = small if bits[i] < SIGN else -small


@kernel
def update_maxima(
    indices: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32],
    maxima: npt.NDArray[np.float32],
) -> None:
    """Raise `maxima` (channels,) to each channel's largest value."""
    n_channels = np.uint32(len(maxima))
    for i in range(len(values)):
        channel = indices[i] % n_channels
        if values[i] > maxima[channel]:
            maxima[channel] = values[i]


@kernel
def quantize_linear(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32],
    scales: npt.NDArray[np.float32],
    per_value: npt.NDArray[np.float32],
    largest: np.float32,
    codes: npt.NDArray[np.float32],
) -> int:
    """Write the code of each value, ``value = scale * code``; return how many rows are exact.

    It stops at the first row with a value that is not exactly ``scale * code`` for a code from 1 to
    `largest`, and returns that row's number. `per_value` is ``1 / scales``.
    """
    n_rows, n_channels = len(indptr) - 1, np.uint32(len(scales))
    mask = n_channels - np.uint32(1)
    is_power = (n_channels & mask) == 0
    for row in range(n_rows):
        columns = indices[indptr[row] : indptr[row + 1]]
        wanted = values[indptr[row] : indptr[row + 1]]
        counted = codes[indptr[row] : indptr[row + 1]]
        wrong = 0
        if is_power:  # the same loop twice, because division is most of the work
            for i in range(len(columns)):
                channel = columns[i] & mask
                code = np.rint(wanted[i] * per_value[channel])
                is_exact = code * scales[channel] == wanted[i]
                wrong |= not (is_exact and code >= 1 and code <= largest)
                counted[i] = code
        else:
            for i in range(len(columns)):
                channel = columns[i] % n_channels
                code = np.rint(wanted[i] * per_value[channel])
                is_exact = code * scales[channel] == wanted[i]
                wrong |= not (is_exact and code >= 1 and code <= largest)
                counted[i] = code
        if wrong:
            return row
    return n_rows


@kernel
def quantize_squared(
    indices: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32],
    per_value: npt.NDArray[np.float64],
    largest: float,
    codes: npt.NDArray[np.float32],
) -> None:
    """Write the codes, 1 to `largest`, for which ``scale * code**2`` is nearest to the value.

    `per_value` is ``1 / scales``.
    """
    n_channels = np.uint32(len(per_value))
    for i in range(len(values)):
        ratio = np.float64(values[i]) * per_value[indices[i] % n_channels]
        # Half-way between two squares, k**2 + k + 1/2, is (k + 1/2)**2 + 1/4.
        code = np.floor(np.sqrt(max(ratio - 0.25, 0.0)) + 0.5)
        codes[i] = min(max(code, 1.0), largest)


@kernel
def dequantize(
    indices: npt.NDArray[np.uint32],
    codes: npt.NDArray[np.float32],
    scales: npt.NDArray[np.float32],
    squared: bool,
) -> None:
    """Replace each code by ``scale * code``, or by ``scale * code**2`` if `squared`."""
    n_channels = np.uint32(len(scales))
    mask = n_channels - np.uint32(1)
    is_power = (n_channels & mask) == 0
    for i in range(len(codes)):
        channel = indices[i] & mask if is_power else indices[i] % n_channels
        factor = codes[i] * codes[i] if squared else codes[i]
        codes[i] = scales[channel] * factor


@kernel
def sum_errors(
    indptr: npt.NDArray[np.int64],
    exact: npt.NDArray[np.float32],
    stored: npt.NDArray[np.float32],
    sums: npt.NDArray[np.float64],
) -> None:
    """Write `sums` (rows, 4): squared errors, exact squared, stored squared, products.

    Elements that are not finite are left out.
    """
    for row in range(len(indptr) - 1):
        wanted = exact[indptr[row] : indptr[row + 1]]
        got = stored[indptr[row] : indptr[row + 1]]
        error, power, other, product = 0.0, 0.0, 0.0, 0.0
        for i in range(len(wanted)):
            one, two = np.float64(wanted[i]), np.float64(got[i])
            if one - one == 0:
                error += (one - two) * (one - two)
                power += one * one
                other += two * two
                product += one * two
        sums[row, 0], sums[row, 1], sums[row, 2], sums[row, 3] = error, power, other, product
