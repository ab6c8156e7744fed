"""Paths and URLs of stores."""

import os
import re
from pathlib import Path
from typing import Final

from sparsefeat.errors import InputError
from sparsefeat.storage.interface import Storage
from sparsefeat.storage.local import LocalStorage
from sparsefeat.storage.objects import ObjectStorage
from sparsefeat.system import checked_path, unknown_choice

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


def checked_place(place: object, what: str = "a store") -> Path | str:
    """Give a folder as a `Path`, and a URL of an object store as it is.

    Raises
    ------
    InputError
        It is neither.

    Examples
    --------
    >>> checked_place("s3://bucket/features/")
    's3://bucket/features'
    """
    if not isinstance(place, str) or (found := _URL.match(place)) is None:
        return checked_path(place, what)
    scheme, rest = found.groups()
    if scheme.lower() not in SCHEMES:
        raise InputError(unknown_choice(scheme, SCHEMES, f"scheme of {what}'s URL"))
    if not rest.strip("/"):
        raise InputError(f"got {place!r} for the URL of {what}, expected a bucket in it")
    return place.rstrip("/")


def open_storage(place: str | os.PathLike[str]) -> Storage:
    """Give the place where a store lies, or is to lie.

    Parameters
    ----------
    place
        A folder, or a URL: ``s3://bucket/features``, ``gs://...``, ``az://...``.

    Raises
    ------
    InputError
        It is neither.
    StoreReadError
        The service that the URL names can't be set up as the environment says.
    DependencyError
        It is a URL, and obstore isn't installed.
    """
    checked = checked_place(place)
    return LocalStorage(checked) if isinstance(checked, Path) else ObjectStorage(checked)
