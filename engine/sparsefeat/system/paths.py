"""Paths as a caller gives them."""

import os
from collections.abc import Iterable
from pathlib import Path

from sparsefeat.errors import InputError


def validate_path(path: object, what: str) -> Path:
    """Give a path as a `Path`.

    Raises
    ------
    InputError
        It is no text and no path, or text that the system takes for none, or empty.

    Examples
    --------
    >>> validate_path("vgg16.onnx", "a model").suffix
    '.onnx'
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InputError(
            f"got {path!r:.60} for the path of {what}, expected text or a pathlib.Path"
        )
    refuse_empty(path, what)
    if "\0" in os.fspath(path):
        raise InputError(
            f"got {path!r:.60} for the path of {what}, expected one without a NUL character"
        )
    return Path(path)


def refuse_empty(path: str | os.PathLike[str], what: str) -> None:
    """Raise `InputError` where a path is empty: `Path("")` would be the current folder."""
    if not os.fspath(path):
        raise InputError(f"got '' for the path of {what}, expected a path: this one is empty")


def validate_paths(paths: object, what: str) -> list[Path]:
    """Give one path or several as `Path`s; raises as `validate_path` does."""
    if not isinstance(paths, Iterable) or isinstance(paths, str | bytes | os.PathLike):
        paths = [paths]
    return [validate_path(path, what) for path in paths]
