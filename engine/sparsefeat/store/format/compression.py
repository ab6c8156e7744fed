"""Numbers to Blosc frames whose byte planes are each compressed in the way that suits them.

A Blosc frame says itself how it is to be read, so that any Blosc reads these. Blosc's own
encoder runs zstd over all planes together. Its fast levels take every short match they meet; among
the exponents of activations, or the gaps between their columns, those are accidents that cost more
than they save, and most of the time.
"""

import struct
from enum import Enum
from typing import Any, Final, TypeAlias

import numcodecs
import numpy as np
import numpy.typing as npt

from sparsefeat.store.format.codecs import BLOCK
from sparsefeat.store.format.threads import scratch
from sparsefeat_kernels import byte_planes, literals_frame, sampled_literal_bits

Bytes: TypeAlias = bytes | memoryview

_FEWEST: Final = 1024  # elements that repay the four tables
_MOST: Final = BLOCK  # bytes in one block
_SIZES: Final = (1, 2, 4)  # bytes of an element

# Of a Blosc 1 frame: its version, that of the zstd inside, and what was done.
_VERSIONS: Final = (2, 1)
_SHUFFLED, _ZSTD_FORMAT = 1, 4 << 5
_HEADER: Final = struct.Struct("<BBBBIIIi")

_NOISE: Final = 7.9  # bits a byte, from which on no code gains anything worth its time
_ONE: Final = 1.02  # bits a byte, up to which nearly all are the same: a code takes one at least
_RUNS: Final = 0.06  # share of its size to which a plane shrinks where runs did it
_GAIN: Final = 0.995  # share of a plane's size from which on nothing is worth the time
_PIECES: Final = 16  # of a plane, by which it is judged,
_PIECE: Final = 1024  # and their bytes
_HOPE: Final = 1.03  # matches save more in the whole than in pieces

_ZSTD: Final = numcodecs.Zstd(level=1)
_BLOSC: Final = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE, blocksize=BLOCK)


class Way(Enum):
    """What makes a byte plane small."""

    NOISE = "nothing"
    ONE = "that nearly all bytes are the same"
    FREQUENCY = "that some bytes are more frequent than others"
    MATCHES = "that sequences of bytes come again"


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
    ways = [_way(plane) for plane in planes]
    if Way.NOISE in ways:
        # libzstd passes quickly over what doesn't repeat; numbers that do repeat in all planes.
        lowest = planes[ways.index(Way.NOISE)]
        if len(_ZSTD.encode(lowest)) < _GAIN * len(lowest):
            return _together(numbers, differences)
    elif Way.MATCHES in ways:
        together = _together(numbers, differences)
        if len(ways) - ways.count(Way.ONE) == 1:  # the samples were of all there is
            return together
        frame = _frame(numbers, [_stream(plane, Way.FREQUENCY) for plane in planes])
        return min(frame, together, key=len)
    frame = _frame(numbers, [*map(_stream, planes, ways)])
    if numbers.itemsize < 4:
        # Codes of dense rows have in common what samples don't show, up to 5 %; and they are small.
        frame = min(frame, _together(numbers, differences), key=len)
    return frame


def _together(numbers: npt.NDArray[Any], differences: bool) -> bytes:
    """Leave all planes to Blosc's own encoder."""
    if differences:
        numbers = np.diff(numbers, prepend=numbers.dtype.type(0))
    return bytes(_BLOSC.encode(numbers))


def _way(plane: npt.NDArray[np.uint8]) -> Way:
    """Judge by samples what makes a plane smallest."""
    bits = sampled_literal_bits(plane)
    if bits > _NOISE:
        return Way.NOISE
    if bits < _ONE:
        return Way.ONE
    pieces = plane[: len(plane) // _PIECES * _PIECES].reshape(_PIECES, -1)[:, :_PIECE].tobytes()
    by_matches = 8 * len(_ZSTD.encode(pieces)) / len(pieces)
    return Way.MATCHES if by_matches < _HOPE * bits else Way.FREQUENCY


def _stream(plane: npt.NDArray[np.uint8], way: Way) -> Bytes:
    if way is Way.NOISE:
        return plane.data
    stream = _ZSTD.encode(plane) if way is Way.MATCHES else literals_frame(plane)
    if way is Way.ONE and len(stream) > _RUNS * len(plane):
        stream = min(stream, _ZSTD.encode(plane), key=len)
    return stream if len(stream) < len(plane) else plane.data


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
