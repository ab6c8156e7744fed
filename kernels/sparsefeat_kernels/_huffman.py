"""The compiled kernels that give bytes codes as long as they are rare (RFC 8878, section 4.2)."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from sparsefeat_kernels._jit import kernel

LONGEST = 11  # bits of a code, at most
SLACK = 16  # bytes that may be written beyond a stream

_LENGTH_SHIFT = np.uint64(12)  # of a code's length in its table entry, above the code
_CODE_MASK = np.uint64((1 << 12) - 1)


def _type_store(typing_context: Any, array: Any, offset: Any, value: Any) -> Any:
    return types.void(array, types.int64, types.uint64), _emit_store


def _emit_store(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write 8 bytes from ``array[offset]`` on, lowest first. Nothing is checked."""
    array, offset, value = arguments
    data = context.make_array(signature.args[0])(context, builder, array).data
    address = builder.bitcast(builder.gep(data, [offset]), ir.IntType(64).as_pointer())
    builder.store(value, address, align=1)
    return context.get_dummy_value()


store = cast(Callable[..., None], intrinsic(_type_store))


@kernel
def sort(numbers: npt.NDArray[np.int64], n: int) -> None:
    """Sort the first `n` numbers (Shell, 1959): few lines, and compiled in no time."""
    for gap in (57, 23, 10, 4, 1):
        for i in range(gap, n):
            number, place = numbers[i], i
            while place >= gap and numbers[place - gap] > number:
                numbers[place] = numbers[place - gap]
                place -= gap
            numbers[place] = number


@kernel
def code_lengths(counts: npt.NDArray[np.int64], lengths: npt.NDArray[np.uint8]) -> int:
    """Set `lengths` (256,) to those of the best code of LONGEST bits or less; give the longest.

    Package-merge (Larmore and Hirschberg, 1990). Gives 0, and no code, for fewer than two symbols.
    """
    order, n = np.empty(256, np.int64), 0  # count and symbol
    for symbol in range(256):
        lengths[symbol] = 0
        if counts[symbol]:
            order[n] = counts[symbol] * 256 + symbol
            n += 1
    if n < 2:
        return 0
    sort(order, n)
    is_leaf = np.zeros((LONGEST, 512), np.bool_)  # of each level's items, lightest first
    items, merged, n_items = np.empty(512, np.int64), np.empty(512, np.int64), n
    for leaf in range(n):
        is_leaf[LONGEST - 1, leaf] = True
        items[leaf] = order[leaf] >> 8
    for level in range(LONGEST - 2, -1, -1):
        n_pairs, leaf, pair = n_items // 2, 0, 0
        n_items = n + n_pairs
        for item in range(n_items):
            is_last = pair == n_pairs
            weight = 0 if is_last else items[2 * pair] + items[2 * pair + 1]
            if leaf < n and (is_last or order[leaf] >> 8 <= weight):
                merged[item] = order[leaf] >> 8
                is_leaf[level, item] = True
                leaf += 1
            else:
                merged[item] = weight
                pair += 1
        items, merged = merged, items
    taken, longest = 2 * n - 2, 0
    for level in range(LONGEST):
        n_leaves = 0
        for item in range(taken):
            n_leaves += is_leaf[level, item]
        for leaf in range(n_leaves):
            lengths[order[leaf] & 255] += 1
        longest += n_leaves > 0
        taken = 2 * (taken - n_leaves)
    return longest


@kernel
def sampled_bits(data: npt.NDArray[np.uint8], size: int) -> float:
    """Estimate the bits a byte takes, from `size` of them or more that lie evenly apart."""
    counts = np.zeros(256, np.int64)
    step = max(1, len(data) // size)
    n_seen = 0
    for i in range(0, len(data), step):
        counts[data[i]] += 1
        n_seen += 1
    lengths = np.empty(256, np.uint8)
    code_lengths(counts, lengths)
    bits = 0
    for symbol in range(256):
        bits += counts[symbol] * np.int64(lengths[symbol])
    return bits / max(1, n_seen)


@kernel
def plan(
    data: npt.NDArray[np.uint8],
    lengths: npt.NDArray[np.uint8],
    codes: npt.NDArray[np.uint16],
    sizes: npt.NDArray[np.int64],
) -> None:
    """Find the codes for `data`, of 6 bytes or more and two symbols at least.

    Sets `lengths` (256,), the table `codes` (256,) for `write_streams`, and the bytes of its four
    streams, `sizes` (4,).
    """
    n = len(data)
    quarter = (n + 3) // 4
    counts = np.zeros((4, 256), np.int32)
    for number in range(4):
        sizes[number] = 0
    a, b, c = data[:quarter], data[quarter : 2 * quarter], data[2 * quarter : 3 * quarter]
    d = data[3 * quarter :]
    in_a, in_b, in_c, in_d = counts[0], counts[1], counts[2], counts[3]
    # Four tables: the same counter isn't waited for when a symbol comes again.
    for i in range(len(d)):
        in_a[a[i]] += 1
        in_b[b[i]] += 1
        in_c[c[i]] += 1
        in_d[d[i]] += 1
    for i in range(len(d), quarter):
        in_a[a[i]] += 1
        in_b[b[i]] += 1
        in_c[c[i]] += 1
    total = np.zeros(256, np.int64)
    for symbol in range(256):
        for number in range(4):
            total[symbol] += counts[number, symbol]
    longest = code_lengths(total, lengths)
    # Codes of one length follow each other in the order of their symbols, longer ones first.
    first = np.zeros(LONGEST + 2, np.int64)
    for symbol in range(256):
        first[lengths[symbol]] += 1
    code = 0
    for length in range(longest, 0, -1):
        n_codes = first[length]
        first[length] = code
        code = (code + n_codes) >> 1
    for symbol in range(256):
        length = lengths[symbol]
        codes[symbol] = 0
        if length:
            codes[symbol] = first[length] | (np.int64(length) << 12)
            first[length] += 1
            for number in range(4):
                sizes[number] += counts[number, symbol] * np.int64(length)
    for number in range(4):
        sizes[number] = sizes[number] // 8 + 1  # with the bit that marks the end


@kernel
def append(
    symbols: npt.NDArray[np.uint8],
    start: int,
    count: int,
    codes: npt.NDArray[np.uint16],
    out: npt.NDArray[np.uint8],
    state: tuple[np.uint64, np.uint64, np.int64],
) -> tuple[np.uint64, np.uint64, np.int64]:
    """Append the codes of at most 4 symbols, last first, to a stream; give its new state.

    That is the bits not yet written for good, their number (under 8), and where they go.
    """
    bits, n_bits, at = state
    for i in range(count - 1, -1, -1):
        entry = np.uint64(codes[symbols[np.uint64(start + i)]])
        bits |= (entry & _CODE_MASK) << n_bits
        n_bits += entry >> _LENGTH_SHIFT
    store(out, at, bits)
    whole = n_bits >> np.uint64(3)
    return bits >> (whole << np.uint64(3)), n_bits & np.uint64(7), at + np.int64(whole)


@kernel
def write_streams(
    data: npt.NDArray[np.uint8],
    codes: npt.NDArray[np.uint16],
    out: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
) -> None:
    """Write each quarter's codes from its place in `out` (bytes,) on, last symbol first.

    SLACK bytes behind each stream are overwritten. Where `data` isn't what `codes` were planned
    for, a stream may be longer than planned, but has never more than LONGEST bits a symbol.
    """
    nothing = np.uint64(0)
    quarter = (len(data) + 3) // 4
    a, b, c = data[:quarter], data[quarter : 2 * quarter], data[2 * quarter : 3 * quarter]
    d = data[3 * quarter :]
    in_a, in_b = (nothing, nothing, starts[0]), (nothing, nothing, starts[1])
    in_c, in_d = (nothing, nothing, starts[2]), (nothing, nothing, starts[3])
    n_in_step = len(d) // 4 * 4
    for i in range(quarter - 1, n_in_step - 1, -1):
        in_a = append(a, i, 1, codes, out, in_a)
        in_b = append(b, i, 1, codes, out, in_b)
        in_c = append(c, i, 1, codes, out, in_c)
    for i in range(len(d) - 1, n_in_step - 1, -1):
        in_d = append(d, i, 1, codes, out, in_d)
    # In step: a stream must wait for each of its codes to know where the next one goes.
    for i in range(n_in_step - 4, -1, -4):
        in_a = append(a, i, 4, codes, out, in_a)
        in_b = append(b, i, 4, codes, out, in_b)
        in_c = append(c, i, 4, codes, out, in_c)
        in_d = append(d, i, 4, codes, out, in_d)
    for bits, n_bits, at in (in_a, in_b, in_c, in_d):
        store(out, at, bits | (np.uint64(1) << n_bits))
