"""Paths and URLs of stores."""

import os
import re
from pathlib import Path
from typing import Final, TypeAlias

from sparsefeat.errors import InputError
from sparsefeat.storage.local import LocalFile, LocalStorage
from sparsefeat.storage.objects import ObjectFile, ObjectStorage
from sparsefeat.system import unknown_choice, validate_path

Storage: TypeAlias = LocalStorage | ObjectStorage
"""What holds a store's files: both have the same methods.

Keys are names of files relative to the store, with forward slashes. Every method raises `OSError`
if the system or the server refuses, and `FileNotFoundError` if a file does not exist.
"""

StoredFile: TypeAlias = LocalFile | ObjectFile
"""A file of which ranges can be read; safe in several threads."""

SCHEMES: Final = ("s3", "gs", "az")
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)


def is_url(path: object) -> bool:
    """Tell whether a path is a URL, of whatever kind.

    Examples
    --------
    >>> is_url("s3://bucket/features"), is_url("features/"), is_url("C:/features")
    (True, False, False)
    """
    return isinstance(path, str) and _URL.match(path) is not None


def validate_location(location: object, what: str = "a store") -> Path | str:
    """Give a folder as a `Path`, and a URL of an object store as it is.

    Raises
    ------
    InputError
        It is neither.

    Examples
    --------
    >>> validate_location("s3://bucket/features/")
    's3://bucket/features'
    """
    if not isinstance(location, str) or (found := _URL.match(location)) is None:
        return validate_path(location, what)
    scheme, rest = found.groups()
    if scheme.lower() not in SCHEMES:
        raise InputError(unknown_choice(scheme, SCHEMES, f"scheme of {what}'s URL"))
    if not rest.strip("/"):
        raise InputError(f"got {location!r} for the URL of {what}, expected a bucket in it")
    return location.rstrip("/")


def open_storage(location: str | os.PathLike[str]) -> Storage:
    """Return the storage of a store that exists or will be created.

    Parameters
    ----------
    location
        A folder, or a URL: ``s3://bucket/features``, ``gs://...``, ``az://...``.

    Raises
    ------
    InputError
        It is neither.
    StoreReadError
        The service of the URL can't be set up from the environment.
    DependencyError
        It is a URL, and obstore isn't installed.
    """
    checked = validate_location(location)
    return LocalStorage(checked) if isinstance(checked, Path) else ObjectStorage(checked)
