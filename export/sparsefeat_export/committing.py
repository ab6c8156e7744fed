"""Writing the two files of a model whole or not at all."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sparsefeat_export.errors import ExportError, OutputError


def data_path(path: Path) -> Path:
    """Tell where the weights of the graph at `path` lie: ``vgg16.onnx.data``."""
    return path.with_name(f"{path.name}.data")


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside the output, so that committing is a rename; drop it at the end.

    One process at a time has it. What a killed one left there goes first.

    Raises
    ------
    OutputError
        `path` cannot be a model's, another process is writing it, or the disk refuses.
    """
    if path.suffix.lower() != ".onnx":
        raise OutputError(f"{path} does not end in .onnx, as a model's path does")
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
    except ExportError:  # some are an OSError too
        raise
    except OSError as exc:
        raise OutputError(f"cannot write {path}: {exc.strerror or exc}") from exc


def commit(graph: Path, data: Path, path: Path) -> None:
    """Give both files their final names.

    A graph never lies beside other weights than its own: the former one goes first, the new
    one comes last. Stopped in between, this leaves no graph. The permissions of former files
    are kept; a link is replaced, since what it leads to may be another program's cache.
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
    """Make a folder and those above it; drop the new ones if nothing came of them."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # the first that isn't empty
            for one in new:
                one.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the operating system's lock on an output, which ends with the process."""
    # No soft lock instead: a file with a process number outlives a killed process.
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
        # While it is held: who opened it meanwhile sees that it has no name, and tries again.
        with suppress(OSError):  # Windows removes no open file
            Path(lock.lock_file).unlink()
        lock.release()


def _sync(path: Path) -> None:
    """Have the system write a file, or a folder's list of names."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folder, and keeps their names safe by itself
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
