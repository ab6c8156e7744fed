import heapq

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numcodecs import Zstd

from sparsefeat_kernels import _zstandard, literals_frame, sampled_literal_bits

from .common import property_settings

Bytes = npt.NDArray[np.uint8]
LIBZSTD = Zstd(level=1)  # reads the frames independently of sparsefeat


def draw(seed: int, size: int, symbols: int, evenness: float) -> Bytes:
    """Draw bytes with a number of values, whose frequencies range from equal to very different."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(256)[:symbols].astype(np.uint8)
    frequencies = rng.dirichlet(np.full(symbols, 10.0**evenness))
    return values[rng.choice(symbols, size, p=frequencies)]


def read(frame: bytes) -> Bytes:
    return np.frombuffer(LIBZSTD.decode(frame), np.uint8)


@given(
    seed=st.integers(0, 1 << 20),
    size=st.one_of(st.integers(1, 3000), st.integers(120_000, 140_000)),
    symbols=st.integers(1, 256),
    evenness=st.floats(-2, 1),
)
@example(seed=0, size=1, symbols=1, evenness=0.0)
@example(seed=0, size=64, symbols=256, evenness=1.0)
@example(seed=0, size=3000, symbols=256, evenness=1.0)
@example(seed=1, size=400_000, symbols=40, evenness=0.0)
@property_settings
def test_libzstd_reads_every_frame(seed: int, size: int, symbols: int, evenness: float) -> None:
    data = draw(seed, size, symbols, evenness)
    frame = literals_frame(data)
    assert np.array_equal(read(frame), data)
    assert len(frame) <= size + 12 + 3 * -(-size // (1 << 17))


@pytest.mark.parametrize("others", [0, 1, 20, 2000])
@pytest.mark.parametrize("size", [63, 64, 5000, (1 << 17) + 5])
def test_runs_of_one_value_make_short_frames(others: int, size: int) -> None:
    rng = np.random.default_rng(others)
    data = np.zeros(size, np.uint8)
    data[rng.integers(0, size, others)] = rng.integers(0, 256, others)
    frame = literals_frame(data)
    assert np.array_equal(read(frame), data)
    assert others or size < 64 or len(frame) <= 24


def test_runs_that_do_not_fit_are_reported() -> None:
    """This happens if another thread changes the bytes after they were counted."""
    data = np.arange(200, dtype=np.uint8) % 2
    out = np.full(40, 77, np.uint8)
    assert _zstandard.write_runs(data, data[0], out[:30]) == -1
    assert (out[30:] == 77).all()


def test_streams_stay_within_their_memory() -> None:
    """Even if another thread changes the bytes meanwhile."""
    data = draw(0, 4000, 200, -1.0)
    lengths, codes = np.empty(256, np.uint8), np.empty(256, np.uint16)
    sizes = np.empty(4, np.int64)
    _zstandard.plan(data, lengths, codes, sizes)
    data[:] = np.argmax(lengths)
    room = 1000 * _zstandard.LONGEST // 8 + _zstandard.SLACK
    out = np.full(5 * room, 77, np.uint8)
    _zstandard.write_streams(data, codes, out, np.arange(4) * room)
    assert (out[4 * room :] == 77).all()
    data[:] = np.arange(4000) % 256
    _zstandard.write_streams(data, codes, out, np.arange(4) * room)
    assert (out[4 * room :] == 77).all()


@pytest.mark.parametrize("symbols", [range(2), range(128, 256), range(0, 256, 255), range(130)])
def test_code_tables_of_any_byte_values(symbols: range) -> None:
    data = np.random.default_rng(0).choice(np.array(symbols, np.uint8), 10_000)
    frame = literals_frame(data)
    assert np.array_equal(read(frame), data)
    assert len(frame) < 1.03 * len(data) * np.log2(len(symbols)) / 8 + 150


def test_frames_are_nearly_as_small_as_the_entropy() -> None:
    data = np.minimum(np.random.default_rng(0).geometric(0.4, 1 << 18), 255).astype(np.uint8)
    shares = np.bincount(data) / len(data)
    shares = shares[shares > 0]
    bits = -(shares * np.log2(shares)).sum()
    frame = literals_frame(data)
    assert len(data) * bits / 8 < len(frame) < 1.04 * len(data) * bits / 8
    assert len(frame) < 0.95 * len(LIBZSTD.encode(data))


def optimal_bits(counts: npt.NDArray[np.int64]) -> int:
    """Count the bits of the best code without a limit of length (Huffman, 1952)."""
    heap = counts[counts > 0].tolist()
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        bits += both
        heapq.heappush(heap, both)
    return bits


@given(seed=st.integers(0, 1 << 20), symbols=st.integers(2, 256), spread=st.floats(0, 20))
@property_settings
def test_code_lengths_are_optimal_within_the_limit(seed: int, symbols: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    counts = np.zeros(256, np.int64)
    drawn = (2 ** (spread * rng.random(symbols))).astype(np.int64)
    counts[rng.permutation(256)[:symbols]] = drawn
    lengths = np.empty(256, np.uint8)
    longest = _zstandard.code_lengths(counts, lengths)
    assert np.array_equal(lengths > 0, counts > 0)
    assert longest == lengths.max() <= _zstandard.LONGEST
    kraft = (2.0 ** -lengths[lengths > 0].astype(float)).sum()
    assert kraft == 1
    bits = int((counts * lengths).sum())
    assert bits >= optimal_bits(counts)
    if longest < _zstandard.LONGEST:
        assert bits == optimal_bits(counts)


def test_fibonacci_counts_reach_the_limit_of_code_lengths() -> None:
    counts = np.zeros(256, np.int64)
    counts[:2] = 1
    for symbol in range(2, 30):
        counts[symbol] = counts[symbol - 1] + counts[symbol - 2]
    lengths = np.empty(256, np.uint8)
    assert _zstandard.code_lengths(counts, lengths) == _zstandard.LONGEST
    assert (2.0 ** -lengths[:30].astype(float)).sum() == 1


def test_sampled_bits_estimate_the_size_of_frames() -> None:
    rng = np.random.default_rng(0)
    assert sampled_literal_bits(np.zeros(1000, np.uint8)) == 0
    assert sampled_literal_bits(np.empty(0, np.uint8)) == 0
    noise = rng.integers(0, 256, 100_000, np.uint8)
    assert sampled_literal_bits(noise) == pytest.approx(8, abs=0.05)
    data = draw(0, 100_000, 40, 0.0)
    expected = 8 * len(literals_frame(data)) / len(data)
    assert sampled_literal_bits(data, 20_000) == pytest.approx(expected, rel=0.02)
