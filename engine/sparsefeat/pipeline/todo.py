"""Resuming: which of the listed pictures are still to be worked on."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from sparsefeat.errors import InputError
from sparsefeat.images import MAX_PIXELS, Source, largest_file
from sparsefeat.pipeline.progress import Progress
from sparsefeat.store import Index, Status
from sparsefeat.types import ReadFailure, Reject


def pick(
    pictures: Sequence[Source | Reject],
    index: Index,
    progress: Progress,
    *,
    by_digest: bool = False,
    retry_rejects: bool = False,
    update: bool = False,
    stop: threading.Event | None = None,
) -> Iterator[Source | Reject]:
    """Yield what the store doesn't know yet; count in `progress` what is passed over.

    Parameters
    ----------
    by_digest
        Compare the bytes of every file with those stored, rather than its size and time.
    retry_rejects
        Yield what an earlier run rejected, too.
    update
        Yield what has changed on disk since it was stored, too.
    stop
        Once set, no more is yielded.
    """
    for picture in pictures:
        if stop is not None and stop.is_set():
            return
        if not isinstance(picture, Source | Reject):
            raise InputError(
                f"got a {type(picture).__name__} among the pictures, expected what "
                "list_pictures gives: call it with your paths"
            )
        if isinstance(picture, ReadFailure):  # what the store has of it says nothing of today
            yield picture
            continue
        status = _status(picture, index, by_digest=by_digest)
        if status == "stored":
            progress.already_stored += 1
        elif status == "changed" and not update:
            progress.changed.append(picture.path)
        elif status == "rejected" and not retry_rejects:
            progress.already_rejected += 1
        else:
            yield picture


def _status(picture: Source | Reject, index: Index, *, by_digest: bool) -> Status:
    root, path, size, mtime_ns = picture.root, picture.path, picture.bytes, picture.mtime_ns
    is_read = isinstance(picture, Source) and size <= largest_file(MAX_PIXELS)
    if not by_digest or not is_read:
        status = index.status(root=root, path=path, bytes=size, mtime_ns=mtime_ns)
        if status != "elsewhere" or not is_read:
            return status
    assert isinstance(picture, Source)
    # The same path, size and time below another root: either the folder was moved, or two
    # folders hold different pictures that look alike from outside. Only the bytes can tell.
    try:
        with Path(picture.file).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "new"  # decoding it will say why it can't be read
    return index.status(root=root, path=path, bytes=size, mtime_ns=mtime_ns, sha256=digest)
