"""A store's bytes in a local or a mounted folder.

Keys are names of files below the folder, with forward slashes. Files may come from anybody: inside
a part no link is followed, and only regular files are read.
"""

import errno
import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock

_CALLS_AT_ONCE: Final = 16
_TRIES: Final = 10  # to make folders that other writers remove
_FREE_LEVELS: Final = 2  # parts/<name>: the store's own folders may be links to another disk

# Errors of a file system that has no hard links.
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

# Without waiting for the other end of a pipe, and without following a link out of the store.
_FLAGS: Final = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
)


class LocalFile:
    """A file of which ranges can be read; safe in several threads."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Read a range, or fewer bytes if the file ends sooner."""
        content = _pread(self._descriptor, length, offset)
        while len(content) < length and (
            more := _pread(self._descriptor, length - len(content), offset + len(content))
        ):
            content += more
        return content


if hasattr(os, "pread"):
    _pread = os.pread
else:
    _seeking = threading.Lock()

    def _pread(descriptor: int, length: int, offset: int) -> bytes:
        with _seeking:  # Windows reads at the descriptor's position
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)


class LocalStorage:
    """The operations that a store needs, on files in a folder.

    Every method raises `OSError` if the system refuses, and `FileNotFoundError` if a file does not
    exist.

    Parameters
    ----------
    root
        The store's folder.
    """

    reads_at_once = 1
    """How many ranges to read at the same time: a read starts without delay."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = str(root)  # as text: joining then makes opening a file a third faster
        self._checked: set[str] = set()  # folders that are not links

    @property
    def location(self) -> Path:
        """The store's folder."""
        return self.root

    def __str__(self) -> str:
        return str(self.root)

    def __reduce__(self) -> tuple[type["LocalStorage"], tuple[Path]]:
        return LocalStorage, (self.root,)

    def name(self, key: str) -> str:
        """Give the path of a key, for a message."""
        return str(self.root / key) if key else str(self.root)

    def exists(self, key: str) -> bool:
        """Tell whether anything exists at a key; what permissions hide counts as existing."""
        try:
            (self.root / key).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def is_file(self, key: str = "") -> bool:
        """Tell whether a key names anything but a folder; a link to nothing counts."""
        path = self.root / key
        try:
            return not stat.S_ISDIR(path.stat().st_mode)
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return path.is_symlink()

    def is_folder(self, prefix: str = "") -> bool:
        """Tell whether there is a folder at a key."""
        return (self.root / prefix).is_dir()

    def names(self, prefix: str) -> list[str]:
        """List the names directly below a key, sorted."""
        return sorted(os.listdir(self.root / prefix))  # noqa: PTH208  # names are all that is needed

    def list_files(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        """Give the names of all files below a key, relative to it, and their sizes in bytes.

        The size is None unless it is a regular file: links, pipes and devices lead elsewhere.
        """
        for name, status in _below(self.root / prefix):
            if not stat.S_ISDIR(status.st_mode):
                yield name, status.st_size if stat.S_ISREG(status.st_mode) else None

    @contextmanager
    def open(self, key: str) -> Iterator[LocalFile]:
        """Open a file for reading ranges of it.

        Raises
        ------
        ValueError
            It, or a folder on the way to it, is a link, a pipe or a device.
        """
        self._refuse_links(key)
        path = f"{self._root}/{key}"
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError:
            if Path(path).is_symlink():
                raise ValueError(f"{Path(path).name} is a link, expected a file") from None
            raise
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"{Path(path).name} is no regular file")
            yield LocalFile(descriptor, status.st_size)
        finally:
            os.close(descriptor)

    def read(self, key: str, most: int) -> bytes:
        """Read a whole file of at most so many bytes.

        Raises
        ------
        ValueError
            It is longer, or is not a regular file.
        """
        with self.open(key) as file:
            if file.size > most:
                raise ValueError(f"{key} has {file.size} bytes, expected at most {most}")
            return file.read(0, file.size)

    def size(self, key: str) -> int:
        """Give the size of a file in bytes."""
        return (self.root / key).lstat().st_size

    def claim(self, prefix: str) -> list[Path]:
        """Make a folder and its parents, the root's too, and sync their names to the disk.

        Returns
        -------
        The folders that were made, the innermost first, for `unmake`.
        """
        folder = self.root / prefix
        missing: set[Path] = set()
        for left in reversed(range(_TRIES)):
            missing |= {each for each in (folder, *folder.parents) if not each.exists()}
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for each in missing:
                    sync(each.parent)
            except (FileExistsError, FileNotFoundError):  # another writer has unmade one meanwhile
                if left == 0:
                    raise
            else:
                break
        return sorted(missing, reverse=True)

    def check_writable(self, prefix: str) -> None:
        """Check that a folder, or the nearest existing one above it, may be written to."""
        folder = self.root / prefix
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        if not os.access(nearest, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def make_new(self, prefix: str) -> None:
        """Make a new folder in an existing one."""
        (self.root / prefix).mkdir()

    def unmake(self, folders: Iterable[Path]) -> None:
        """Remove the folders that `claim` made, as far as they are empty."""
        with suppress(OSError):  # at the first folder that isn't empty
            for each in folders:
                each.rmdir()

    def write(self, key: str, pieces: Iterable[bytes]) -> int:
        """Write a new file below a folder that `make_new` made; `sync` makes it durable.

        Returns
        -------
        Its size in bytes.

        Raises
        ------
        FileNotFoundError
            The first two folders of the key are missing: somebody deleted the part that was
            begun, and a new folder would lack the files that were written before.
        """
        path = self.root / key
        top = self.root.joinpath(*key.split("/")[:_FREE_LEVELS])
        _make_below(path.parent, top)
        size = 0
        with path.open("wb") as file:
            for piece in pieces:
                size += file.write(piece)
        return size

    def sync(self, prefix: str) -> None:
        """Sync all files and folders below a key to the disk, and its own name."""
        folder = self.root / prefix
        paths = [folder, *folder.rglob("*"), folder.parent]
        # Many at once, because a file system commits those that wait together in one go.
        with ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="sparsefeat-sync") as pool:
            for _ in pool.map(sync, paths):
                pass

    def create(
        self, key: str, content: bytes, *, allowed: Callable[[], bool] = lambda: True
    ) -> bool:
        """Create a complete file on the disk; return False if it exists already.

        If several processes or machines try at the same time, one succeeds. `allowed` is called
        when all but the name is on the disk. If it returns False, or somebody has deleted the
        temporary file since, nothing is created, and the result is False, too.
        """
        path = self.root / key
        temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if not (allowed() and _take_name(temporary, path)):
                return False
        except FileNotFoundError:
            if path.parent.exists():
                return False
            raise
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync(path.parent)
        return True

    def delete(self, prefix: str) -> None:
        """Delete a file, a link (not its target), or a folder with everything in it.

        A folder is renamed to a hidden name first, so that no reader sees half of it.
        """
        path = self.root / prefix
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        hidden = path.parent / f".{secrets.token_hex(8)}.tmp"
        if not path.name.startswith("."):
            path.rename(hidden)
            path = hidden
        shutil.rmtree(path)

    def usage(self, prefix: str) -> tuple[int, int]:
        """Sum the bytes of the files below a key, and those that the disk allocates to them.

        What others delete meanwhile is left out.
        """
        n_bytes = allocated = 0
        for _, status in _below(self.root / prefix):
            if stat.S_ISREG(status.st_mode):
                n_bytes += status.st_size
                # Windows reports no blocks: they are estimated from the size.
                allocated += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
        return n_bytes, allocated

    def allocated_bytes(self) -> int | None:
        """Sum the bytes that the disk allocates to all files."""
        return self.usage("")[1]

    def age(self, prefix: str, *, exact: bool = True) -> float:
        """Give the seconds since anything at or below a key changed.

        Both times come from the clock of the machine that keeps the files. With `exact=False`, the
        local clock is used if no file may be created to read that clock.
        """
        path = self.root / prefix
        status = path.lstat()
        inner = _below(path) if stat.S_ISDIR(status.st_mode) else ()
        latest = max([status.st_mtime, *(each.st_mtime for _, each in inner)])
        try:
            now = self._now()
        except OSError:
            if exact:
                raise
            now = time.time()
        return max(0.0, now - latest)

    def identity(self) -> tuple[int, int]:
        """Identify this folder, so that its replacement by another one is noticed."""
        status = self.root.stat()
        return status.st_dev, status.st_ino

    def _now(self) -> float:
        probe = self.root / f".{secrets.token_hex(8)}.tmp"
        probe.touch(exist_ok=False)
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()

    def _refuse_links(self, key: str) -> None:
        parts = key.split("/")
        for depth in range(_FREE_LEVELS + 1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder in self._checked:
                continue
            with suppress(OSError):  # opening it will raise an error
                if stat.S_ISLNK(os.lstat(f"{self._root}/{folder}").st_mode):
                    raise ValueError(f"{parts[depth - 1]} is a link, expected a folder")
            self._checked.add(folder)


def _below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the status of everything below a folder, except what others delete meanwhile.

    Names are relative to it. A folder that may not be listed raises `OSError`.
    """
    waiting = [""]
    while waiting:
        above = waiting.pop()
        with suppress(FileNotFoundError), os.scandir(f"{folder}/{above}") as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(f"{above}{entry.name}/")
                    yield f"{above}{entry.name}", status


def _make_below(folder: Path, top: Path) -> None:
    """Make a folder and its parents up to `top`, which must exist."""
    if folder == top:
        return
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        if folder.parent == top:
            raise
        _make_below(folder.parent, top)
        folder.mkdir(exist_ok=True)


def _take_name(temporary: Path, path: Path) -> bool:
    """Give a file its name; return False if another file has that name."""
    if os.name == "nt":
        try:
            temporary.rename(path)  # which fails there if the name is taken
        except FileExistsError:
            return False
        return True
    try:
        os.link(temporary, path)
    except OSError as exc:
        if temporary.stat().st_nlink > 1:
            return True  # the link was made, and only the file server's answer was lost
        if isinstance(exc, FileExistsError):
            return False
        if exc.errno not in _NO_LINKS:
            raise
        # Such as exFAT. The system releases the lock when the process ends.
        with FileLock(path.parent / ".lock", fallback_to_soft=False):
            if path.exists():
                return False
            temporary.rename(path)
    return True


def sync(path: Path) -> None:
    """Make a file, or a folder's list of names, durable (`fsync`)."""
    if os.name == "nt" and path.is_dir():
        return  # Windows can't open folders, and keeps their names durable itself
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        # Some mounted folders can't be synced and raise an error; ignoring it loses nothing.
        if exc.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
