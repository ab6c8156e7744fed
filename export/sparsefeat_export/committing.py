"""Writing the two files of a model whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsefeat_export.errors import ExportError, OutputError


def data_path(path: Path) -> Path:
    """Tell where the weights of the graph at `path` lie: ``vgg16.onnx.data``."""
    return path.with_name(f"{path.name}.data")


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside the output, so that committing is a rename; drop it at the end.

    Raises
    ------
    OutputError
        `path` cannot be a model's, or the disk refuses.
    """
    if path.suffix != ".onnx":
        raise OutputError(f"{path} does not end in .onnx, as a model's path does")
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            yield Path(folder)
    except ExportError:  # some are an OSError too
        raise
    except OSError as exc:
        raise OutputError(f"cannot write {path}: {exc.strerror or exc}") from exc


def commit(graph: Path, data: Path, path: Path) -> None:
    """Give both files their final names, the data first: no graph is ever without its data."""
    _sync(data)
    _sync(graph)
    data.replace(data_path(path))
    graph.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
