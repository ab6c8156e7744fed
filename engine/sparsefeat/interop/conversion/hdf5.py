"""An array in an HDF5 file that is written from its first element to its last."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import h5py

CHUNK = 1 << 17  # elements; two of these chunks fit the cache that HDF5 has by default
LEVEL = 1
GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": LEVEL, "shuffle": True}
"""What every HDF5 library has: shuffled bytes, gzip, and with it a checksum (Adler-32)."""


class ArrayStream:
    """Compresses chunks in several threads: HDF5 itself would do it in one.

    Parameters
    ----------
    group, name
        Where the array is made.
    shape
        Of (n,) elements or (n, width).
    dtype
        Of 4 bytes, little-endian.
    pool
        The threads.
    """

    def __init__(
        self,
        group: "h5py.Group",
        name: str,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._width, self._pool = int(np.prod(shape[1:])), pool
        self._rows = max(1, min(CHUNK // self._width, shape[0]))
        self.dataset = group.create_dataset(
            name,
            shape,
            dtype,
            maxshape=(None, *shape[1:]),
            chunks=(self._rows, *shape[1:]),
            **GZIP,
        )
        self._chunk = np.zeros(self._rows * self._width, dtype)
        self._filled = self._n_chunks = 0

    def append(self, values: npt.NDArray[Any]) -> None:
        """Append elements; of two axes, in C order."""
        values = values.reshape(-1)
        size = len(self._chunk)
        room = size - self._filled
        full = []
        self._chunk[self._filled : self._filled + room][: len(values)] = values[:room]
        self._filled += min(room, len(values))
        if self._filled == size:
            rest = len(values) - room
            full = [self._chunk]
            full += [values[room + start :][:size] for start in range(0, rest - size + 1, size)]
            self._filled = rest % size
            self._chunk = np.zeros(size, self._chunk.dtype)
            self._chunk[: self._filled] = values[len(values) - self._filled :]
        self._write(full)

    def finish(self) -> None:
        """Write the last chunk, filled up with zeros."""
        if self._filled:
            self._write([self._chunk])

    @property
    def n_bytes(self) -> int:
        """Bytes written."""
        return int(self.dataset.id.get_storage_size())

    def _write(self, chunks: list[npt.NDArray[Any]]) -> None:
        for compressed in self._pool.map(compress, chunks):
            place = (self._n_chunks * self._rows, *(0 for _ in self.dataset.shape[1:]))
            self.dataset.id.write_direct_chunk(place, compressed)
            self._n_chunks += 1


def compress(chunk: npt.NDArray[Any]) -> bytes:
    """Do what HDF5's filters shuffle and gzip do."""
    shuffled = chunk.view(np.uint8).reshape(-1, chunk.itemsize).T
    return zlib.compress(np.ascontiguousarray(shuffled).data, LEVEL)
