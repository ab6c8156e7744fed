"""Numbers to Blosc frames whose byte planes are each compressed in the way that suits them.

A Blosc frame says itself how it is to be read, so that any Blosc reads these. Blosc's own
encoder runs zstd over all planes together. Its fast levels take every short match they meet; among
the exponents of activations, or the gaps between their columns, those are accidents that cost more
than they save, and most of the time.
"""

import struct
from typing import Any, Final, TypeAlias

import numcodecs
import numpy as np
import numpy.typing as npt

from sparsefeat.store.codecs import BLOCK
from sparsefeat.store.pool import scratch
from sparsefeat_kernels import byte_planes, literals_frame, sampled_entropy

Bytes: TypeAlias = bytes | memoryview

_FEWEST: Final = 1024  # elements that repay the four tables
_MOST: Final = BLOCK  # bytes in one block
_SIZES: Final = (1, 2, 4)  # bytes of an element

# Of a Blosc 1 frame: its version, that of the zstd inside, and what was done.
_VERSIONS: Final = (2, 1)
_SHUFFLED, _ZSTD_FORMAT = 1, 4 << 5
_HEADER: Final = struct.Struct("<BBBBIIIi")

_NOISE: Final = 7.85  # bits a byte, from which on no code gains anything worth its time
_NOISY: Final = 0.9  # share of its size that a plane of noise keeps
_GAIN: Final = 0.995  # share of a size that is worth looking for more matches
_PIECES: Final = 16  # of another plane, by which it is judged,
_PIECE: Final = 1024  # and their bytes
_HOPE: Final = 1.06  # matches are better yet in the whole than in pieces
_SMALL: Final = 0.02  # share to which a plane shrinks that isn't worth more

_ZSTD: Final = numcodecs.Zstd(level=1)
_BLOSC: Final = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE, blocksize=BLOCK)


def compress(numbers: npt.NDArray[Any], *, differences: bool) -> bytes:
    """Compress numbers, or the differences of each from the one before; safe in several threads.

    Parameters
    ----------
    numbers
        (n,), contiguous.
    differences
        For int32 alone.
    """
    if numbers.itemsize not in _SIZES or not _FEWEST <= len(numbers) <= _MOST // numbers.itemsize:
        return _together(numbers, differences)
    planes = scratch(numbers.nbytes, np.uint8).reshape(numbers.itemsize, len(numbers))
    byte_planes(numbers, differences=differences, out=planes)
    streams = [_by_frequency(plane) for plane in planes]
    noise = [place for place in range(len(planes)) if len(streams[place]) > _NOISY * len(numbers)]
    # libzstd passes quickly over what doesn't repeat; numbers that do repeat in all planes.
    if noise and len(_ZSTD.encode(planes[noise[0]])) < _GAIN * len(streams[noise[0]]):
        return min(_frame(numbers, streams), _together(numbers, differences), key=len)
    repeat = False
    for place, plane in enumerate(planes):
        if place not in noise and _repeats(plane, streams[place]):
            repeat = True
            streams[place] = min(streams[place], _ZSTD.encode(plane), key=len)
    frame = _frame(numbers, streams)
    return min(frame, _together(numbers, differences), key=len) if repeat and not noise else frame


def _together(numbers: npt.NDArray[Any], differences: bool) -> bytes:
    """Leave all planes to Blosc's own encoder."""
    if differences:
        numbers = np.diff(numbers, prepend=numbers.dtype.type(0))
    return bytes(_BLOSC.encode(numbers))


def _by_frequency(plane: npt.NDArray[np.uint8]) -> Bytes:
    if sampled_entropy(plane) > _NOISE:
        return plane.data
    frame = literals_frame(plane)
    return frame if len(frame) < len(plane) else plane.data


def _repeats(plane: npt.NDArray[np.uint8], stream: Bytes) -> bool:
    """Judge by some pieces whether matches would make a plane smaller than it already is."""
    n = len(plane)
    if len(stream) < _SMALL * n:
        return False
    pieces = plane[: n // _PIECES * _PIECES].reshape(_PIECES, -1)[:, :_PIECE].tobytes()
    return len(_ZSTD.encode(pieces)) * n < _HOPE * len(stream) * len(pieces)


def _frame(numbers: npt.NDArray[Any], streams: list[Bytes]) -> bytes:
    """Make a frame of one block, split into planes."""
    flags = _ZSTD_FORMAT | (_SHUFFLED if numbers.itemsize > 1 else 0)
    start, size = _HEADER.size, numbers.nbytes
    total = start + sum(4 + len(stream) for stream in streams)
    parts: list[Bytes] = [
        _HEADER.pack(*_VERSIONS, flags, numbers.itemsize, size, size, total, start)
    ]
    for stream in streams:
        parts += [len(stream).to_bytes(4, "little"), stream]
    return b"".join(parts)
