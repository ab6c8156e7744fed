"""Compress bytes to Zstandard frames by entropy coding alone, without searching for matches."""

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 17  # bytes; the format's limit for a block
_MAGIC = 0xFD2FB528
_ONE_SEGMENT = 0xA0  # frame header: a single segment, with its size in 4 bytes
_RAW, _COMPRESSED = 0, 2
_MIN_BYTES = 64  # a shorter block is stored uncompressed: its table would take too much
_OVERHEAD = 12  # bytes of a compressed block besides its table and streams
_LONGEST_TABLE = 128


def literals_frame(data: npt.NDArray[np.uint8]) -> bytes:
    """Compress bytes to a Zstandard frame of Huffman-coded literals, runs or raw blocks.

    Byte planes of activations, and of the gaps between their columns, hold few useful
    repetitions. For them the frame is smaller than what the fast levels of libzstd write, in a
    third of the time. Repeated sequences are not searched for. Every Zstandard decoder (RFC 8878)
    reads the frame.

    Parameters
    ----------
    data
        uint8 (n,), contiguous.

    Returns
    -------
    bytes
        The frame, with the content's size in its header.

    Examples
    --------
    >>> import numpy as np
    >>> len(literals_frame(np.zeros(1000, np.uint8)))
    16
    """
    header = (_MAGIC | _ONE_SEGMENT << 32 | len(data) << 40).to_bytes(9, "little")
    pieces = [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]
    # An empty block at the end carries the flag of the last block.
    return b"".join([header, *(part for piece in pieces for part in _block(piece)), b"\1\0\0"])


def sampled_literal_bits(data: npt.NDArray[np.uint8], size: int = 4096) -> float:
    """Estimate the bits per byte that `literals_frame` needs, from a sample.

    Parameters
    ----------
    data
        uint8 (n,).
    size
        Approximate number of bytes to sample, evenly spaced.

    Examples
    --------
    >>> import numpy as np
    >>> sampled_literal_bits(np.arange(256, dtype=np.uint8))
    8.0
    """
    from sparsefeat_kernels import _zstandard

    return float(_zstandard.sampled_bits(data, size))


def _block(data: npt.NDArray[np.uint8]) -> list[bytes]:
    from sparsefeat_kernels import _zstandard

    n = len(data)
    if n < _MIN_BYTES:
        return _raw(data)
    # The median of three samples: the most common value, if nearly all bytes have one value.
    common = sorted(data[[n // 4, n // 2, n - 1]])[1]
    room = n // 8  # bytes; Huffman codes of one bit or more can't take less
    n_others = _zstandard.count_others(data, common, room // _zstandard.BYTES_PER_OTHER)
    if _zstandard.BYTES_PER_OTHER * n_others < room:
        out = np.empty(room + 4, np.uint8)
        n_bytes = _zstandard.write_runs(data, common, out)
        return [out[:n_bytes].tobytes()] if n_bytes >= 0 else _raw(data)
    lengths, codes = np.empty(256, np.uint8), np.empty(256, np.uint16)
    sizes = np.empty(4, np.int64)
    _zstandard.plan(data, lengths, codes, sizes)
    n_coded = int(sizes.sum())
    # Data that shrink by less than 1/64 are stored raw, because raw blocks are faster to read.
    table = _table(lengths)
    if table is None or len(table) + _OVERHEAD + n_coded > n - n // 64:
        return _raw(data)
    # Room for the longest codes everywhere: another thread may change `data` meanwhile.
    room = (n + 3) // 4 * _zstandard.LONGEST // 8 + _zstandard.SLACK
    starts, out = np.arange(4) * room, np.empty(4 * room, np.uint8)
    _zstandard.write_streams(data, codes, out, starts)
    streams = [
        out[start : start + size].tobytes()
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)
    ]
    literals = b"".join([table, sizes[:3].astype("<u2").tobytes(), *streams])
    # The header says: four streams, both sizes in 18 bits. No sequences follow.
    section = (_COMPRESSED | 3 << 2 | n << 4 | len(literals) << 22).to_bytes(5, "little")
    return [_header(_COMPRESSED, len(section) + len(literals) + 1), section, literals, b"\0"]


def _raw(data: npt.NDArray[np.uint8]) -> list[bytes]:
    return [_header(_RAW, len(data)), data.tobytes()]


def _header(kind: int, size: int) -> bytes:
    return (kind << 1 | size << 3).to_bytes(3, "little")


def _table(lengths: npt.NDArray[np.uint8]) -> bytes | None:
    """Encode the weights of a Huffman code; the last weight follows from the others."""
    from sparsefeat_kernels import _zstandard

    last = int(np.flatnonzero(lengths)[-1])
    weights = np.where(lengths, lengths.max() + 1 - lengths, 0)[:last].astype(np.uint8)
    out = np.empty(_zstandard.TABLE_ROOM, np.uint8)
    n_bytes = _zstandard.compress_weights(weights, out)
    if 0 < n_bytes < min(_LONGEST_TABLE, (last + 1) // 2 if last <= _LONGEST_TABLE else 256):
        return bytes([n_bytes]) + out[:n_bytes].tobytes()
    if last > _LONGEST_TABLE:
        return None
    pairs = np.append(weights, np.uint8(0))[: (last + 1) // 2 * 2].reshape(-1, 2)
    return bytes([_LONGEST_TABLE - 1 + last]) + (pairs[:, 0] << 4 | pairs[:, 1]).tobytes()
