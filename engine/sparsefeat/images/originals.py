"""The file that a stored row was made of, where it still is what it was."""

import hashlib
import os
from pathlib import Path

from sparsefeat.images.listing import find_picture
from sparsefeat.images.opening import MAX_PIXELS, pillow_errors
from sparsefeat.images.reading import read_file
from sparsefeat.images.source import Source, decode_path
from sparsefeat.images.unreadable import UnreadableError


def read_original(
    path: str, root: str, sha256: str, photos: str | os.PathLike[str] | None = None
) -> bytes | str:
    """Read the file that gave a row.

    Parameters
    ----------
    path, root, sha256
        As in `sparsefeat.types.Row`.
    photos
        Where the pictures are now, if they were moved: stands for `root`.

    Returns
    -------
    Its bytes; or why there are none: the file is gone, can't be read, or has other bytes than
    when it was stored.
    """
    if not path:
        return "not from a file"
    folder = decode_path(root) if photos is None else os.fspath(photos)
    source = find_picture(Path(folder, decode_path(path)))
    if not isinstance(source, Source):
        return source.reason
    try:
        with pillow_errors():
            content = read_file(source, MAX_PIXELS)
    except UnreadableError as exc:
        return str(exc)
    if hashlib.sha256(content).hexdigest() != sha256:
        return "the file changed since it was stored"
    return content
