"""A file whose first error is kept until it can be raised."""

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Sink(io.RawIOBase):
    """A new file for libraries that don't bear it when the disk is full.

    HDF5 can't close a file whose last blocks it can't write, and zip and Parquet files write
    their tables of contents when they are closed after an error. So the first error, an
    interrupt included, is kept, what comes after it is dropped, and `check` raises it; so does
    the end of the context, in place of what the library made of it. A file that was written
    without an error is on the disk then.

    Parameters
    ----------
    path
        Must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path, "x+")
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any) -> int:
        """Write all of it."""
        view = memoryview(data)
        try:
            left = view if self._failure is None else view[:0]
            while left:
                left = left[self._file.write(left) :]
        except BaseException as exc:
            self._failure = exc
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file longer or shorter."""
        try:
            if self._failure is None:
                return self._file.truncate(size)
        except OSError as exc:
            self._failure = exc
        return size or 0

    def readinto(self, buffer: Any) -> int:
        """Read into memory, as HDF5 does with what it wrote before."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Tell the place."""
        return self._file.tell()

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            self.check()
            if exc is None:
                os.fsync(self._file.fileno())
