"""The compiled kernel that compresses the lengths of codes (RFC 8878, section 4.2.1.2).

Finite state entropy: each symbol owns a share of 64 states, and takes as many bits as lead from
the state it is met in to one of its own.
"""

import numpy as np
import numpy.typing as npt

from sparsefeat_kernels._jit import kernel

LOG = 6  # of the number of states; no more is allowed for these
SIZE = 1 << LOG
SYMBOLS = 12  # lengths are under that
ROOM = 256 + 16  # bytes that may be written

_EIGHT = np.uint64(8)


@kernel
def flush(
    bits: np.uint64, n_bits: int, out: npt.NDArray[np.uint8], at: int
) -> tuple[np.uint64, int, int]:
    """Write whole bytes; give the bits left, their number, and where they go."""
    while n_bits >= 8:
        out[at] = np.uint8(bits)
        bits >>= _EIGHT
        n_bits -= 8
        at += 1
    return bits, n_bits, at


@kernel
def shares(counts: npt.NDArray[np.int64], n: int, states: npt.NDArray[np.int64]) -> None:
    """Share the states out by `counts`, which sum up to `n`: at least one to each symbol."""
    n_free = SIZE
    for symbol in range(SYMBOLS):
        if counts[symbol]:
            states[symbol] = max(1, (counts[symbol] * SIZE + n // 2) // n)
            n_free -= states[symbol]
    while n_free:  # what was rounded is made good by those who have most
        richest = 0
        for symbol in range(SYMBOLS):
            if states[symbol] > states[richest]:
                richest = symbol
        change = max(-1, n_free)
        states[richest] += change
        n_free -= change


@kernel
def write_shares(states: npt.NDArray[np.int64], out: npt.NDArray[np.uint8]) -> int:
    """Write how many states each symbol has; give the bytes it took."""
    bits, n_bits, at = np.uint64(LOG - 5), 4, 0
    left, symbol = SIZE, 0
    while left:
        width = 1
        while 1 << width <= left + 1:
            width += 1
        # Of the values up to left + 1, as many as can be told by one bit less take one less.
        half = 1 << (width - 1)
        short = 2 * half - 1 - (left + 1)
        value = states[symbol] + 1
        written = value if value < half else value + short
        bits |= np.uint64(written) << np.uint64(n_bits)
        n_bits += width - 1 if value < short else width
        left -= states[symbol]
        symbol += 1
        if value == 1:  # then comes how many more have none, 3 and again
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
    """Compress at most 255 weights under SYMBOLS into `out` (ROOM,); give the bytes it took.

    Gives 0 where that can't be: for fewer than 3 of them, or if all are the same.
    """
    n = len(weights)
    counts = np.zeros(SYMBOLS, np.int64)
    for i in range(n):
        counts[weights[i]] += 1
    if n < 3 or counts[weights[0]] == n:
        return 0
    states = np.zeros(SYMBOLS, np.int64)
    shares(counts, n, states)
    at = write_shares(states, out)

    # The states lie spread; a symbol's are numbered in the order of their places.
    first, following = np.zeros(SYMBOLS, np.int64), np.zeros(SYMBOLS, np.int64)
    owner, places = np.empty(SIZE, np.int64), np.empty(SIZE, np.int64)
    n_owned, place = 0, 0
    for symbol in range(SYMBOLS):
        first[symbol] = following[symbol] = n_owned
        for _ in range(states[symbol]):
            owner[place] = symbol
            place = (place + (SIZE >> 1) + (SIZE >> 3) + 3) & (SIZE - 1)
            n_owned += 1
    for place in range(SIZE):
        places[following[owner[place]]] = SIZE + place
        following[owner[place]] += 1

    # Two states take turns, last symbol first; the first two symbols of all cost no bits.
    state = np.zeros(2, np.int64)
    turn = (n + 1) & 1
    bits, n_bits = np.uint64(0), 0
    for i in range(n - 1, -1, -1):
        symbol = weights[i]
        if i >= n - 2:
            state[turn] = places[first[symbol]]
        else:
            # As many bits go out as bring the state down to the symbol's own numbers.
            n_out = 0
            while state[turn] >> n_out >= 2 * states[symbol]:
                n_out += 1
            bits |= np.uint64(state[turn] & ((1 << n_out) - 1)) << np.uint64(n_bits)
            number = (state[turn] >> n_out) - states[symbol]
            state[turn] = places[first[symbol] + number]
            bits, n_bits, at = flush(bits, n_bits + n_out, out, at)
        turn ^= 1
    for turn in (1, 0):
        bits |= np.uint64(state[turn] & (SIZE - 1)) << np.uint64(n_bits)
        bits, n_bits, at = flush(bits, n_bits + LOG, out, at)
    out[at] = np.uint8(bits | (np.uint64(1) << np.uint64(n_bits)))
    return at + 1
