"""Write the two files of a model atomically: both complete, or neither."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sparsefeat_export.errors import ExportError, OutputError


def data_path(path: Path) -> Path:
    """Return the path of the weights of the graph at `path`, for example ``vgg16.onnx.data``."""
    return path.with_name(f"{path.name}.data")


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder beside the output, and delete it at the end.

    The folder is on the same file system as the output, so that `commit` can rename. Only one
    process at a time can have it; files left by a killed process are deleted first.

    Raises
    ------
    OutputError
        `path` does not end in ``.onnx`` or is a folder, another process is writing it, or the
        operating system refuses a write.
    """
    if path.suffix.lower() != ".onnx":
        raise OutputError(f"{path} does not end in .onnx, expected the path of a model")
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected a file to write")
    folder = path.with_name(f".{path.name}-export")
    try:
        with _parents(path.parent), _locked(path):
            if folder.exists():
                shutil.rmtree(folder)
            try:
                folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except ExportError:  # some of them are OSErrors too
        raise
    except OSError as exc:
        raise OutputError(f"cannot write {path}: {exc.strerror or exc}") from exc


def commit(graph: Path, data: Path, path: Path) -> None:
    """Move both files to their final names.

    A graph is never beside the weights of another model: the previous graph is removed first and
    the new one is added last. If the process is killed in between, there is no graph. New files
    get the permissions of the files they replace. A symbolic link is replaced, not followed,
    because its target may belong to another program's cache.
    """
    for new, old in ((data, data_path(path)), (graph, path)):
        with suppress(FileNotFoundError):
            new.chmod(stat.S_IMODE(old.stat().st_mode))
        _sync(new)
    former = graph.with_name("former.onnx")
    with suppress(FileNotFoundError):
        path.replace(former)
        _sync(path.parent)
    try:
        data.replace(data_path(path))
    except OSError:
        with suppress(FileNotFoundError):
            former.replace(path)
        raise
    _sync(path.parent)
    graph.replace(path)
    _sync(path.parent)


@contextmanager
def _parents(folder: Path) -> Iterator[None]:
    """Create a folder with its parents, and remove the new ones again if they are empty."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # stops at the first folder that is not empty
            for one in new:
                one.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an operating-system lock on an output; it is released when the process ends."""
    # No fallback to a soft lock: its file would outlive a killed process.
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as exc:
        raise OutputError(
            f"another process is exporting to {path}: wait for it, or write to another file"
        ) from exc
    try:
        yield
    finally:
        # Delete the file while the lock is held: a process that opened it meanwhile notices that
        # it is deleted, and tries again.
        with suppress(OSError):  # Windows cannot delete an open file
            Path(lock.lock_file).unlink()
        lock.release()


def _sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder, and flushes folder entries itself
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
