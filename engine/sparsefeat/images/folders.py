"""Search folders: each file once, in a stable order, even if there are symbolic links."""

# Plain text for paths: a million pathlib objects would double time and memory.
# ruff: noqa: PTH112, PTH116, PTH118, PTH119

import errno
import functools
import os
import stat
from collections.abc import Iterator, Sequence

from sparsefeat.errors import SourceError
from sparsefeat.images.patterns import Choice, matches, may_hold
from sparsefeat.images.source import (
    Found,
    Source,
    UnreadableError,
    classify_os_error,
    encode_path,
    storable_mtime,
)
from sparsefeat.storage import is_url
from sparsefeat.types import ReadFailure, Reject

# Errors that say nothing about a folder: too many open files in this process or in the system, or
# too little memory.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class FolderSearch:
    """Searches folders; it enters none twice, and never `skip`, ``*.zarr`` or ``*.lrdata``.

    Parameters
    ----------
    skip
        A folder that is never entered.
    choice
        Which files are listed; by default all but companions of images.
    """

    def __init__(self, skip: str | os.PathLike[str] | None, choice: Choice | None = None) -> None:
        self._choice = choice or Choice()
        # Loops of links end at a folder that has been entered already.
        self._entered: set[tuple[int, int]] = set()
        if skip is not None and os.path.isdir(skip):
            self._entered.add(_identity(os.fspath(skip)))

    def files(self, root: str, pattern: Sequence[str] = ("**",)) -> Iterator[Found]:
        """Yield the files below `root` that match `pattern` (as from `folded`) and are chosen.

        Files come in the order of the bytes of their paths; after them, in the same order, come
        files that are only reached through links. A folder is entered at its real path before any
        link to it, so that a new link never changes the path of an existing file.

        Raises
        ------
        SourceError
            `root` can't be read, or disappears during the search.
        """
        links = [""]
        while links:
            starts, links = sorted(links, key=os.fsencode), []
            for start in starts:
                for item in self._descend(root, start, pattern, links):
                    if isinstance(item, ReadFailure):
                        check_root(root)
                    yield item

    def _descend(
        self, root: str, start: str, pattern: Sequence[str], links: list[str]
    ) -> Iterator[Found]:
        # This isn't recursive, because a tree may be deeper than Python's stack.
        folder = start
        levels = [(folder, iter(self._names(root, folder, pattern, links)))]
        while levels:
            folder, names = levels[-1]
            for name in names:
                if isinstance(name, Reject):
                    yield name
                elif name.endswith("/"):
                    inner = folder + name
                    levels.append((inner, iter(self._names(root, inner, pattern, links))))
                    break
                elif (item := find_file(root, folder, name)) is not None:
                    yield item
            else:
                levels.pop()

    def _names(
        self, root: str, folder: str, pattern: Sequence[str], links: list[str]
    ) -> Sequence[str | Reject]:
        """Return the names in `folder`, which ends in "/"; those of folders in it end in "/" too.

        Links to folders are not returned but added to `links`.
        """
        names: list[str] = []
        try:
            identity = _identity(_join(root, folder))
            if identity in self._entered:
                return ()
            self._entered.add(identity)
            above = folder.split("/")[:-1]
            everything = matches(above, pattern)
            with os.scandir(_join(root, folder)) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    inside = [*above, entry.name]
                    if not _is_folder(entry):
                        if (everything or matches(inside, pattern)) and self._choice.takes(
                            inside, entry.path
                        ):
                            names.append(entry.name)
                    elif (
                        entry.name.endswith(".zarr")
                        or entry.name.lower().endswith(".lrdata")  # Lightroom's previews
                        or not may_hold(inside, pattern)
                        or self._choice.excludes(inside)
                    ):
                        continue
                    elif entry.is_symlink():
                        links.append(f"{folder}{entry.name}/")
                    else:
                        names.append(entry.name + "/")
        except OSError as exc:
            if not folder:
                raise SourceError(
                    f"got {root!r}, expected a folder that can be read: {exc.strerror}"
                ) from exc
            return (lost_file(root, folder.rstrip("/"), classify_os_error(exc)),)
        # With "/" after folders, names in order are paths in order.
        names.sort(key=None if all(map(str.isascii, names)) else os.fsencode)
        return names


def find_file(root: str, folder: str, name: str) -> Found | None:
    """Look up a file in `folder` (relative to `root`, ending in "/"); None if it is not a file."""
    file = _join(root, folder) + name
    try:
        status = os.stat(file)
    except OSError as exc:
        return lost_file(root, folder + name, classify_os_error(exc))
    if not stat.S_ISREG(status.st_mode):
        return None
    stored_root, stored_folder, label = _written(root, folder)
    return Source(
        file=file,
        root=stored_root,
        path=stored_folder + encode_path(name),
        label=label,
        bytes=status.st_size,
        mtime_ns=storable_mtime(status),
    )


@functools.lru_cache(maxsize=64)
def _written(root: str, folder: str) -> tuple[str, str, str]:
    """Encode the root, a folder and the folder's name; all files of the folder share the text."""
    own_name = folder[:-1].rpartition("/")[2] if folder else os.path.basename(root)
    return encode_path(root), encode_path(folder), encode_path(own_name)


def check_root(root: str) -> None:
    """Check that a root folder still exists, after a file in it could not be read.

    Raises
    ------
    SourceError
        The folder was moved or deleted, or can't be read; or it is empty, as after unmounting a
        drive.
    """
    if is_url(root):  # requests to a server are repeated for two minutes instead
        return
    try:
        with os.scandir(root) as entries:
            if next(entries, None) is not None:
                return
        what = "it is empty"
    except OSError as exc:
        if exc.errno in _EXHAUSTED:
            return
        what = exc.strerror or str(exc)
    raise SourceError(
        f"{root} can't be read any more ({what}), expected the folder of images: attach its drive "
        "again, and run the same command again"
    )


def lost_file(root: str, path: str, why: UnreadableError) -> ReadFailure:
    """Make the read failure of a file that could not be looked up."""
    return ReadFailure(
        path=encode_path(path),
        root=encode_path(root),
        bytes=0,
        mtime_ns=0,
        sha256="",
        reason=str(why),
    )


@functools.lru_cache(maxsize=64)
def _join(root: str, folder: str) -> str:
    """Return the path of a folder below `root`."""
    return os.path.join(root, folder.replace("/", os.sep))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or through a forbidden folder
        return False


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
