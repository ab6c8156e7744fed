"""An extraction run: photographs through the network into a store, resumably."""

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sparsefeat.errors import InputError
from sparsefeat.extractor import Extractor
from sparsefeat.pictures import Source
from sparsefeat.records import Batch, Reject
from sparsefeat.store import Known, StoreWriter

Identity = Literal["mtime", "digest"]
IDENTITIES: tuple[Identity, ...] = ("mtime", "digest")

# Batches between the network and the disk: one being written, one waiting.
WAITING_BATCHES = 1


@dataclass(kw_only=True)
class Progress:
    """How far a run is; handed to the callback after every batch, always the same object.

    Attributes
    ----------
    total
        Pictures to work on in this run, without the `stored` ones of runs before.
    rows, rejected
        What became of those met so far.
    already_stored, already_rejected
        Pictures that the store holds or has rejected, and that were passed over.
    changed
        Paths of pictures that the store holds but that have changed on disk since. Their rows
        stay as they are.
    stopped
        The run was told to stop, and committed what it had.
    """

    total: int = 0
    rows: int = 0
    rejected: int = 0
    already_stored: int = 0
    already_rejected: int = 0
    changed: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def done(self) -> int:
        """Pictures worked on so far."""
        return self.rows + self.rejected


def extract_to_store(
    extractor: Extractor,
    pictures: Sequence[Source | Reject],
    folder: str | os.PathLike[str],
    *,
    rows_per_part: int = 1024,
    identity: Identity = "mtime",
    retry_rejects: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> Progress:
    """Extract what the store doesn't hold yet, and commit it part by part.

    Parameters
    ----------
    extractor
        Its settings and layers must be those of the store, if there is one already.
    pictures
        What `list_pictures` found.
    folder
        The store; made if it isn't there.
    rows_per_part
        Rows that are committed together: what a killed run loses at most.
    identity
        What tells a stored picture from a new one besides its path below the root: its size
        and modification time, or the digest of its bytes (which reads every file).
    retry_rejects
        Try again what an earlier run rejected.
    report
        Called with the state after every batch.
    stop
        Once set, the run ends after the batch in hand and commits it.

    Raises
    ------
    StoreMismatchError
        The store was made with other settings or layers.
    StoreLockedError
        Another process is writing to it.
    StoreWriteError
        The disk refused. What was committed before stays.
    """
    if identity not in IDENTITIES:
        raise InputError(f"unknown identity {identity!r}, expected one of: {', '.join(IDENTITIES)}")
    with StoreWriter.open(
        folder,
        layers=list(extractor.layers.values()),
        settings=extractor.settings,
        provenance=extractor.provenance,
        rows_per_part=rows_per_part,
    ) as writer:
        progress = Progress()
        todo = [
            picture
            for picture in pictures
            if _is_todo(picture, writer.known, identity, retry_rejects, progress)
        ]
        progress.total = len(todo)
        report(progress)
        with _Appender(writer) as append:
            for batch in _until(stop, extractor.extract(todo), progress):
                append(batch)
                progress.rows += len(batch.rows)
                progress.rejected += len(batch.rejects)
                report(progress)
    return progress
