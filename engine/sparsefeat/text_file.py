"""Writing a file of text, or saying in one line why not."""

import os
from pathlib import Path

from sparsefeat.errors import InputError


def write_text_file(file: str | os.PathLike[str], text: str) -> int:
    """Write text as UTF-8; return the file's size in bytes.

    Raises
    ------
    InputError
        The file can't be written.
    """
    try:
        return Path(file).write_bytes(text.encode())
    except OSError as exc:
        raise InputError(
            f"can't write {os.fspath(file)!r} ({exc.strerror}), expected a file in a folder that "
            "exists and may be written to: name another one"
        ) from exc
