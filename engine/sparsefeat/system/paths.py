"""Check paths that a caller passes."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sparsefeat.errors import InputError

# URLs, and what `Path` turns them into, such as s3:/bucket.
_URL: Final = re.compile(r"(s3|gs|az):/|[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def validate_path(path: object, what: str) -> Path:
    """Return a path as a `pathlib.Path`.

    Raises
    ------
    InputError
        `path` is not text or a path, is empty, contains a NUL character, or is a URL.

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
            f"got {path!r:.60} for the path of {what}, expected a path without a NUL character"
        )
    if _URL.match(os.fspath(path)):
        raise InputError(
            f"got {os.fspath(path)!r} for the path of {what}, expected a path on a disk: "
            "only stores and images may be in buckets, named as text: s3://bucket/name"
        )
    return Path(path)


def refuse_empty(path: str | os.PathLike[str], what: str) -> None:
    """Raise `InputError` if a path is empty, because `Path("")` is the current folder."""
    if not os.fspath(path):
        raise InputError(f"got '' for the path of {what}, expected a path that is not empty")


def validate_paths(paths: object, what: str) -> list[Path]:
    """Return one or several paths as a list of `Path`; raise as `validate_path` does."""
    if not isinstance(paths, Iterable) or isinstance(paths, str | bytes | os.PathLike):
        paths = [paths]
    return [validate_path(path, what) for path in paths]
