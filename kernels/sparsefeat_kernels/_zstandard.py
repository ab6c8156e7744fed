"""The compiled kernels that write Zstandard frames: runs, Huffman codes and their tables."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import intrinsic, ir, kernel, types

# Runs.
BYTES_PER_OTHER = 8  # at most: a block for the run before it, and a block for itself
RUN_STEP = 512  # symbols compared at a time

# Huffman codes (RFC 8878, section 4.2).
LONGEST = 11  # bits of the longest code
SLACK = 16  # bytes that may be written after a stream
_LENGTH_SHIFT = np.uint64(12)  # of a code's length in its table entry, above the code
_CODE_MASK = np.uint64((1 << 12) - 1)

# The lengths of the codes are stored with finite state entropy coding (section 4.2.1.2): each
# symbol owns some of 64 states, and is written as the bits that lead from the current state to one
# of its own.
STATES_LOG = 6  # log2 of the number of states; the format's limit for code lengths
N_STATES = 1 << STATES_LOG
N_WEIGHTS = 12  # weights are below this
TABLE_ROOM = 256 + 16  # bytes that `compress_weights` may write
_EIGHT = np.uint64(8)


@kernel
def differs(data: npt.NDArray[np.uint8], common: np.uint8) -> bool:
    """Return whether any symbol differs from `common`."""
    difference = np.uint8(0)  # no early exit, because that would prevent vectorisation
    for i in range(len(data)):
        difference = np.uint8(difference | np.uint8(data[i] ^ common))
    return bool(difference != 0)


@kernel
def count_others(data: npt.NDArray[np.uint8], common: np.uint8, limit: int) -> int:
    """Count the symbols that differ from `common`; stop as soon as there are more than `limit`."""
    n_others = 0
    for start in range(0, len(data), RUN_STEP):
        step = data[start : start + RUN_STEP]
        if differs(step, common):
            for i in range(len(step)):
                n_others += step[i] != common
            if n_others > limit:
                break
    return n_others


@kernel
def write_runs(data: npt.NDArray[np.uint8], common: np.uint8, out: npt.NDArray[np.uint8]) -> int:
    """Write runs of `common` as RLE blocks and other symbols as raw blocks; return the byte count.

    It returns -1 if `out` is too small. BYTES_PER_OTHER bytes for each symbol other than `common`,
    and 4 more, are always enough.
    """
    n, at, i = len(data), 0, 0
    while i < n:
        start, is_run = i, data[i] == common
        if is_run:
            while i + RUN_STEP <= n and not differs(data[i : i + RUN_STEP], common):
                i += RUN_STEP
        while i < n and (data[i] == common) == is_run:
            i += 1
        if at + 3 + (1 if is_run else i - start) > len(out):
            return -1
        header = (i - start) << 3 | (2 if is_run else 0)
        for number in range(3):
            out[at + number] = (header >> (8 * number)) & 255
        at += 3
        for slot in range(start, start + 1 if is_run else i):
            out[at] = data[slot]
            at += 1
    return at


def _type_store(typing_context: Any, array: Any, offset: Any, value: Any) -> Any:
    return types.void(array, types.int64, types.uint64), _emit_store


def _emit_store(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit code that writes 8 bytes from ``array[offset]`` on, lowest first, without checks."""
    array, offset, value = arguments
    data = context.make_array(signature.args[0])(context, builder, array).data
    address = builder.bitcast(builder.gep(data, [offset]), ir.IntType(64).as_pointer())
    builder.store(value, address, align=1)
    return context.get_dummy_value()


store = cast(Callable[..., None], intrinsic(_type_store))


@kernel
def sort(numbers: npt.NDArray[np.int64], n: int) -> None:
    """Sort the first `n` numbers by Shell sort (1959), which is short and compiles fast."""
    for gap in (57, 23, 10, 4, 1):
        for i in range(gap, n):
            number, slot = numbers[i], i
            while slot >= gap and numbers[slot - gap] > number:
                numbers[slot] = numbers[slot - gap]
                slot -= gap
            numbers[slot] = number


@kernel
def code_lengths(counts: npt.NDArray[np.int64], lengths: npt.NDArray[np.uint8]) -> int:
    """Write the code lengths of the best Huffman code of at most LONGEST bits; return the longest.

    The algorithm is package-merge (Larmore and Hirschberg, 1990). For fewer than two symbols there
    is no code, and it returns 0. `lengths` has 256 elements.
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
    """Estimate the bits per byte from at least `size` evenly spaced bytes."""
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
    """Find the Huffman codes for `data`, which has at least 6 bytes and two symbols.

    It sets `lengths` (256,), the table `codes` (256,) for `write_streams`, and `sizes` (4,), the
    number of bytes of each of the four streams.
    """
    n = len(data)
    quarter = (n + 3) // 4
    counts = np.zeros((4, 256), np.int32)
    for number in range(4):
        sizes[number] = 0
    a, b, c = data[:quarter], data[quarter : 2 * quarter], data[2 * quarter : 3 * quarter]
    d = data[3 * quarter :]
    in_a, in_b, in_c, in_d = counts[0], counts[1], counts[2], counts[3]
    # Four tables, so that a repeated symbol doesn't wait for its counter's last update.
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
    """Append the codes of at most 4 symbols, last first, to a stream; return its new state.

    The state is: the bits not yet in a whole byte, their number (below 8), and the next offset.
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
    """Write the codes of each quarter of `data` from its offset in `out` on, last symbol first.

    Up to SLACK bytes after each stream are overwritten. If `data` changed since `plan`, a stream
    may be longer than planned, but never longer than LONGEST bits per symbol.
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
    # Interleave the streams: within one stream, each code must wait for the one before.
    for i in range(n_in_step - 4, -1, -4):
        in_a = append(a, i, 4, codes, out, in_a)
        in_b = append(b, i, 4, codes, out, in_b)
        in_c = append(c, i, 4, codes, out, in_c)
        in_d = append(d, i, 4, codes, out, in_d)
    for bits, n_bits, at in (in_a, in_b, in_c, in_d):
        store(out, at, bits | (np.uint64(1) << n_bits))


@kernel
def flush(
    bits: np.uint64, n_bits: int, out: npt.NDArray[np.uint8], at: int
) -> tuple[np.uint64, int, int]:
    """Write the whole bytes of a stream; return its new state as `append` does."""
    while n_bits >= 8:
        out[at] = np.uint8(bits)
        bits >>= _EIGHT
        n_bits -= 8
        at += 1
    return bits, n_bits, at


@kernel
def shares(counts: npt.NDArray[np.int64], n: int, states: npt.NDArray[np.int64]) -> None:
    """Divide the states among the symbols in proportion to `counts`, at least one to each.

    `n` is the sum of `counts`.
    """
    n_free = N_STATES
    for symbol in range(N_WEIGHTS):
        if counts[symbol]:
            states[symbol] = max(1, (counts[symbol] * N_STATES + n // 2) // n)
            n_free -= states[symbol]
    while n_free:  # correct the rounding at the symbols that have the most states
        richest = 0
        for symbol in range(N_WEIGHTS):
            if states[symbol] > states[richest]:
                richest = symbol
        change = max(-1, n_free)
        states[richest] += change
        n_free -= change


@kernel
def write_shares(states: npt.NDArray[np.int64], out: npt.NDArray[np.uint8]) -> int:
    """Write how many states each symbol has; return the number of bytes written."""
    bits, n_bits, at = np.uint64(STATES_LOG - 5), 4, 0
    left, symbol = N_STATES, 0
    while left:
        width = 1
        while 1 << width <= left + 1:
            width += 1
        # Values from 0 to left + 1 are possible; the lowest of them are written in one bit less.
        half = 1 << (width - 1)
        short = 2 * half - 1 - (left + 1)
        value = states[symbol] + 1
        written = value if value < half else value + short
        bits |= np.uint64(written) << np.uint64(n_bits)
        n_bits += width - 1 if value < short else width
        left -= states[symbol]
        symbol += 1
        if value == 1:  # no states: the count of further such symbols follows, in units of 3
            n_more = 0
            while not states[symbol]:
                symbol += 1
                n_more += 1
            while n_more >= 3:
                bits |= np.uint64(3) << np.uint64(n_bits)
                bits, n_bits, at = flush(bits, n_bits + 2, out, at)
                n_more -= 3
            bits |= np.uint64(n_more) << np.uint64(n_bits)
            n_bits += 2
        bits, n_bits, at = flush(bits, n_bits, out, at)
    if n_bits:
        out[at] = np.uint8(bits)
        at += 1
    return at


@kernel
def compress_weights(weights: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> int:
    """Compress at most 255 weights below N_WEIGHTS to `out` (TABLE_ROOM,); return the byte count.

    It returns 0 if they can't be compressed: fewer than 3, or all the same.
    """
    n = len(weights)
    counts = np.zeros(N_WEIGHTS, np.int64)
    for i in range(n):
        counts[weights[i]] += 1
    if n < 3 or counts[weights[0]] == n:
        return 0
    states = np.zeros(N_WEIGHTS, np.int64)
    shares(counts, n, states)
    at = write_shares(states, out)

    # The states of a symbol are spread over the table and numbered in table order.
    first, following = np.zeros(N_WEIGHTS, np.int64), np.zeros(N_WEIGHTS, np.int64)
    owner, slots = np.empty(N_STATES, np.int64), np.empty(N_STATES, np.int64)
    n_owned, slot = 0, 0
    for symbol in range(N_WEIGHTS):
        first[symbol] = following[symbol] = n_owned
        for _ in range(states[symbol]):
            owner[slot] = symbol
            slot = (slot + N_STATES // 2 + N_STATES // 8 + 3) & (N_STATES - 1)
            n_owned += 1
    for slot in range(N_STATES):
        slots[following[owner[slot]]] = N_STATES + slot
        following[owner[slot]] += 1

    # Two states alternate, from the last symbol on; the first two symbols need no bits.
    state = np.zeros(2, np.int64)
    turn = (n + 1) & 1
    bits, n_bits = np.uint64(0), 0
    for i in range(n - 1, -1, -1):
        symbol = weights[i]
        if i >= n - 2:
            state[turn] = slots[first[symbol]]
        else:
            # Write as many bits as it takes to bring the state into the symbol's range.
            n_out = 0
            while state[turn] >> n_out >= 2 * states[symbol]:
                n_out += 1
            bits |= np.uint64(state[turn] & ((1 << n_out) - 1)) << np.uint64(n_bits)
            number = (state[turn] >> n_out) - states[symbol]
            state[turn] = slots[first[symbol] + number]
            bits, n_bits, at = flush(bits, n_bits + n_out, out, at)
        turn ^= 1
    for turn in (1, 0):
        bits |= np.uint64(state[turn] & (N_STATES - 1)) << np.uint64(n_bits)
        bits, n_bits, at = flush(bits, n_bits + STATES_LOG, out, at)
    out[at] = np.uint8(bits | (np.uint64(1) << np.uint64(n_bits)))
    return at + 1
