"""The compiled kernels that round values, and count them in steps of their channel."""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel

MAGNITUDE = np.uint32(0x7FFFFFFF)
SIGN = np.uint32(0x80000000)
INFINITY = np.uint32(0x7F800000)
HALF_NORMAL = np.uint32(0x38800000)  # 2**-14, the smallest normal half
HALF_LARGEST = np.uint32(0x477FE000)  # 65,504
HALF_STEPS = np.float32(2**24)  # of a half that isn't normal, in one


@kernel
def round_mantissas(
    bits: npt.NDArray[np.uint32], dropped: int, rounded: npt.NDArray[np.uint32]
) -> None:
    """Round float32 patterns so that their last `dropped` bits are 0, to nearest even.

    What isn't finite stays as it is; what is stays so, and what isn't 0 doesn't become it.
    """
    unit = np.uint32(1 << dropped)
    kept = np.uint32(0xFFFFFFFF - ((1 << dropped) - 1))
    below_half = np.uint32((1 << (dropped - 1)) - 1) if dropped else np.uint32(0)
    shift = np.uint32(dropped)
    for i in range(len(bits)):
        magnitude = bits[i] & MAGNITUDE
        odd = (magnitude >> shift) & np.uint32(1) if dropped else np.uint32(0)
        nearest = (magnitude + below_half + odd) & kept
        if nearest >= INFINITY:
            nearest = magnitude & kept
        if nearest == 0 and magnitude != 0:
            nearest = unit
        if magnitude >= INFINITY:
            nearest = magnitude
        rounded[i] = nearest | (bits[i] & SIGN)


@kernel
def round_halves(values: npt.NDArray[np.float32], rounded: npt.NDArray[np.float32]) -> None:
    """Round to halves, to nearest even, as float32; what isn't 0 doesn't become it.

    What is too large for a half becomes the largest.
    """
    bits, patterns = values.view(np.uint32), rounded.view(np.uint32)
    for i in range(len(values)):
        magnitude = bits[i] & MAGNITUDE
        # Those that are normal: 10 bits of mantissa.
        odd = (magnitude >> np.uint32(13)) & np.uint32(1)
        normal = (magnitude + np.uint32(0xFFF) + odd) & np.uint32(0xFFFFE000)
        steps = np.rint(np.abs(values[i]) * HALF_STEPS)
        if steps == 0 and magnitude != 0:
            steps = np.float32(1)
        small = steps / HALF_STEPS
        if magnitude >= INFINITY:
            patterns[i] = bits[i]
        elif magnitude >= HALF_NORMAL:
            patterns[i] = min(normal, HALF_LARGEST) | (bits[i] & SIGN)
        else:
            rounded[i] = small if bits[i] < SIGN else -small


@kernel
def raise_maxima(
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
def count_steps(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32],
    steps: npt.NDArray[np.float32],
    per_value: npt.NDArray[np.float32],
    largest: np.float32,
    numbers: npt.NDArray[np.float32],
) -> int:
    """Set `numbers` to how many steps of its channel each value is.

    Stop at the first row with a value that isn't just a number from 1 to `largest` times its
    step, and give it; or the number of rows. `per_value` is one over `steps`.
    """
    n_rows, n_channels = len(indptr) - 1, np.uint32(len(steps))
    mask = n_channels - np.uint32(1)
    is_power = (n_channels & mask) == 0
    for row in range(n_rows):
        columns = indices[indptr[row] : indptr[row + 1]]
        wanted = values[indptr[row] : indptr[row + 1]]
        counted = numbers[indptr[row] : indptr[row + 1]]
        wrong = 0
        if is_power:  # the same twice: a division is most of the work
            for i in range(len(columns)):
                channel = columns[i] & mask
                number = np.rint(wanted[i] * per_value[channel])
                is_exact = number * steps[channel] == wanted[i]
                wrong |= not (is_exact and number >= 1 and number <= largest)
                counted[i] = number
        else:
            for i in range(len(columns)):
                channel = columns[i] % n_channels
                number = np.rint(wanted[i] * per_value[channel])
                is_exact = number * steps[channel] == wanted[i]
                wrong |= not (is_exact and number >= 1 and number <= largest)
                counted[i] = number
        if wrong:
            return row
    return n_rows


@kernel
def count_roots(
    indices: npt.NDArray[np.uint32],
    values: npt.NDArray[np.float32],
    per_value: npt.NDArray[np.float64],
    largest: float,
    numbers: npt.NDArray[np.float32],
) -> None:
    """Set `numbers` to those, from 1 to `largest`, whose squares in steps are nearest the values.

    `per_value` is one over each channel's step.
    """
    n_channels = np.uint32(len(per_value))
    for i in range(len(values)):
        ratio = np.float64(values[i]) * per_value[indices[i] % n_channels]
        # Half-way between two squares, k**2 + k + 1/2, is (k + 1/2)**2 + 1/4.
        number = np.floor(np.sqrt(max(ratio - 0.25, 0.0)) + 0.5)
        numbers[i] = min(max(number, 1.0), largest)


@kernel
def scale_numbers(
    indices: npt.NDArray[np.uint32],
    numbers: npt.NDArray[np.float32],
    steps: npt.NDArray[np.float32],
    squared: bool,
) -> None:
    """Replace each number by its step times it, or times its square."""
    n_channels = np.uint32(len(steps))
    mask = n_channels - np.uint32(1)
    is_power = (n_channels & mask) == 0
    for i in range(len(numbers)):
        channel = indices[i] & mask if is_power else indices[i] % n_channels
        factor = numbers[i] * numbers[i] if squared else numbers[i]
        numbers[i] = steps[channel] * factor


@kernel
def error_sums(
    indptr: npt.NDArray[np.int64],
    exact: npt.NDArray[np.float32],
    stored: npt.NDArray[np.float32],
    sums: npt.NDArray[np.float64],
) -> None:
    """Set each row of `sums` (rows, 4): squared errors, exact squared, stored squared, products.

    Elements that aren't finite are left out.
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
