"""List images that are objects in a bucket."""

import os
from collections.abc import Iterator

from sparsefeat.errors import SourceError
from sparsefeat.images.containers import Takes
from sparsefeat.images.folders import lost_file
from sparsefeat.images.path_list import ADDRESS
from sparsefeat.images.patterns import is_hidden
from sparsefeat.images.source import (
    Found,
    Reason,
    Source,
    UnreadableError,
    classify_os_error,
    encode_path,
    refused,
)
from sparsefeat.storage import (
    is_fetchable,
    is_url,
    list_objects,
    look_at_object,
    validate_location,
)
from sparsefeat.types import ReadFailure


def is_in_bucket(name: str) -> bool:
    """Return whether a name is the URL of a bucket, and not a path or another URL."""
    return is_url(name) and ADDRESS.match(name) is None


def objects_below(url: str, skip: str | os.PathLike[str] | None, takes: Takes) -> Iterator[Found]:
    """Yield the objects below a URL that may be images, in the order of their names' bytes.

    As in a folder, names that start with a dot are skipped, and so are stores. An object whose name
    can't be requested is yielded as a reject.

    Raises
    ------
    SourceError
        The server refuses the request, or can't be reached.
    """
    url, skipped = str(validate_location(url, "images")), f"{skip}/"
    try:
        for name, size, mtime_ns in list_objects(url):
            names, file = name.split("/"), f"{url}/{name}"
            is_marker = not size and "." not in names[-1]  # cloud consoles mark folders like this
            if not is_fetchable(name) and not is_marker:
                if takes([each for each in names if each.strip(".")], file):
                    why = UnreadableError(Reason.KEY)
                    yield refused(_object(file, url, name, size, mtime_ns), why)
                continue
            if is_marker or is_hidden(names) or file.startswith(skipped):
                continue
            if takes(names, file):
                yield _object(file, url, name, size, mtime_ns)
    except OSError as exc:
        raise SourceError(
            f"{url} can't be listed ({exc.strerror or exc}), expected images: check the keys, the "
            "network and the server, and run the same command again"
        ) from exc


def object_at(url: str, root: str | None = None) -> Source | ReadFailure:
    """Look up an object; its path is relative to `root` if that is above it, else to its prefix."""
    root, name = split_url(url, root)
    try:
        return _object(url, root, name, *look_at_object(url))
    except OSError as exc:
        return lost_file(root, name, classify_os_error(exc))


def split_url(url: str, root: str | None) -> tuple[str, str]:
    """Split an object's URL after `root`, or at the last "/" if `root` isn't above the object."""
    if root is not None and url.startswith(f"{root.rstrip('/')}/"):
        root = root.rstrip("/")
        return root, url[len(root) + 1 :]
    root, _, name = url.rpartition("/")
    return root, name


def _object(file: str, root: str, name: str, size: int, mtime_ns: int) -> Source:
    folder = name.rpartition("/")[0] or root
    return Source(
        file=file,
        root=encode_path(root),
        path=encode_path(name),
        label=encode_path(folder.rpartition("/")[2]),
        bytes=size,
        mtime_ns=mtime_ns,
    )
