"""The interface between a store and the storage that holds its files."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class StoredFile(Protocol):
    """A file of which ranges can be read; safe in several threads."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Read a range, or fewer bytes if the file ends sooner."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What lies below a key: number of files, their bytes, and the bytes allocated on the disk."""

    files: int = 0
    stored_bytes: int = 0
    allocated_bytes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            files=self.files + other.files,
            stored_bytes=self.stored_bytes + other.stored_bytes,
            allocated_bytes=self.allocated_bytes + other.allocated_bytes,
        )


class Storage(Protocol):
    """Operations on the files of a store.

    Keys are names of files relative to the store, with forward slashes. Every method raises
    `OSError` if the system or the server refuses, and `FileNotFoundError` if a file does not exist.
    """

    reads_at_once: int
    """How many ranges to read at the same time; 1 if a read starts without delay."""

    @property
    def location(self) -> Path | str:
        """The store's folder, or its URL."""
        ...

    def name(self, key: str) -> str:
        """Give the path or URL of a key, for a message."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether anything exists at a key; what permissions hide counts as existing."""
        ...

    def is_folder(self, prefix: str = "") -> bool:
        """Tell whether there is a folder at a key."""
        ...

    def names(self, prefix: str) -> list[str]:
        """List the names directly below a key, sorted."""
        ...

    def list_files(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        """Give the names of all files below a key, relative to it, and their sizes in bytes.

        The size is None unless it is a regular file: links, pipes and devices lead elsewhere.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[StoredFile]:
        """Open a file for reading ranges of it; ValueError if it is not a regular file."""
        ...

    def read(self, key: str, most: int) -> bytes:
        """Read a whole file; ValueError if it exceeds `most` bytes, or is not a regular file."""
        ...

    def size(self, key: str) -> int:
        """Give the size of a file in bytes."""
        ...

    def claim(self, prefix: str) -> list[Path]:
        """Make a folder and its parents, and check that `create` is reliable.

        Returns
        -------
        The folders that were made, the innermost first, for `unmake`.
        """
        ...

    def unmake(self, folders: Iterable[Path]) -> None:
        """Remove the folders that `claim` made, as far as they are empty."""
        ...

    def check_writable(self, prefix: str) -> None:
        """Check that `claim` would be allowed, before there is anything to write."""
        ...

    def make_new(self, prefix: str) -> None:
        """Make a new folder in an existing one."""
        ...

    def write(self, key: str, pieces: Iterable[bytes]) -> int:
        """Write a new file below a folder that `make_new` made; `sync` makes it durable.

        Returns
        -------
        Its size in bytes.
        """
        ...

    def sync(self, prefix: str) -> None:
        """Wait until all files that were written below a key are durable."""
        ...

    def create(
        self, key: str, content: bytes, *, allowed: Callable[[], bool] = lambda: True
    ) -> bool:
        """Create a complete, durable file; return False if it exists already.

        If several processes or machines try at the same time, one succeeds. `allowed` is called at
        the last moment; if it returns False, nothing is created, and the result is False, too.
        """
        ...

    def delete(self, prefix: str) -> None:
        """Delete a file or a folder; no reader ever sees half of a part.

        An object store doesn't report whether anything existed.
        """
        ...

    def usage(self, prefix: str = "") -> Usage:
        """Sum files and bytes below a key; what others delete meanwhile is left out."""
        ...

    def allocated_bytes(self) -> int | None:
        """Sum the bytes that the disk allocates to all files; None if there is no disk."""
        ...

    def age(self, prefix: str, *, exact: bool = True) -> float:
        """Give the seconds since anything at or below a key changed.

        Both times come from the clock of the machine that keeps the files. With `exact=False`, the
        local clock is used if no file may be created to read that clock.
        """
        ...

    def identity(self) -> tuple[int, int]:
        """Identify this folder, so that its replacement by another one is noticed."""
        ...
