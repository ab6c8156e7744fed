"""What a store needs of the place where it lies."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class StoredFile(Protocol):
    """A file opened for reading ranges of it; safe in several threads."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Read a range; fewer bytes where the file ends before."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What lies below a key: files, their bytes, and the bytes that the disk gives them."""

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
    """The operations that a store needs of the place where it lies.

    Keys are names of files relative to the store, with forward slashes. Every method raises
    `OSError` where the system or the server refuses: `FileNotFoundError` for what is not there.
    """

    reads_at_once: int
    """How many reads of ranges are worth having under way; 1 where waiting costs nothing."""

    @property
    def location(self) -> Path | str:
        """The store's folder, or its URL."""
        ...

    def name(self, key: str) -> str:
        """Give the path or URL of a key, for a message."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is anything at a key; what may not be looked at is taken for there."""
        ...

    def is_folder(self, prefix: str = "") -> bool:
        """Tell whether there is a folder at a key."""
        ...

    def names(self, prefix: str) -> list[str]:
        """List the names directly below a key, sorted."""
        ...

    def list_files(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        """Give the names of all files below a key, relative to it, and their sizes in bytes.

        The size is None for what is no regular file: links, pipes and devices lead elsewhere.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[StoredFile]:
        """Open a file for reading ranges of it; ValueError if it is no regular file."""
        ...

    def read(self, key: str, most: int) -> bytes:
        """Read a whole file; ValueError if it has more than `most` bytes, or is no regular file."""
        ...

    def size(self, key: str) -> int:
        """Give the size of a file in bytes."""
        ...

    def claim(self, prefix: str) -> list[Path]:
        """Make a folder and those above it, and see that `create` can be relied on.

        Returns
        -------
        Those that were not there, the innermost first: `unmake` takes them.
        """
        ...

    def unmake(self, folders: Iterable[Path]) -> None:
        """Remove what `claim` made, as far as it is empty."""
        ...

    def check_writable(self, prefix: str) -> None:
        """See, before there is anything to write, that `claim` would not be refused."""
        ...

    def make_new(self, prefix: str) -> None:
        """Make a folder that is not there, in one that is."""
        ...

    def write(self, key: str, pieces: Iterable[bytes]) -> int:
        """Write a new file below a folder that `make_new` made; `sync` sees it safely stored.

        Returns
        -------
        Its size in bytes.
        """
        ...

    def sync(self, prefix: str) -> None:
        """Return when all files that were written below a key are safely stored."""
        ...

    def create(
        self, key: str, content: bytes, *, allowed: Callable[[], bool] = lambda: True
    ) -> bool:
        """Create a file, whole and safely stored, unless there is one: then return False.

        Of several that try at the same time, in processes or on machines, one succeeds.
        `allowed` is asked at the last moment; where it says no, False is returned, too.
        """
        ...

    def delete(self, prefix: str) -> None:
        """Delete a file or a folder, in an order in which nobody takes half of it for whole.

        Whether there was any, an object store doesn't say.
        """
        ...

    def usage(self, prefix: str = "") -> Usage:
        """Add up what lies below a key, but for what others delete meanwhile."""
        ...

    def allocated_bytes(self) -> int | None:
        """Add up what the disk gives to all files; None where there is no disk to ask."""
        ...

    def age(self, prefix: str, *, exact: bool = True) -> float:
        """Give the seconds since anything at or below a key changed.

        Both times are those of the machine that keeps the files, whatever the clock here says.
        With `exact=False` it is the clock here where no file may be made to ask that one.
        """
        ...

    def identity(self) -> tuple[int, int]:
        """Tell this folder from another one that may come to lie in its place."""
        ...
