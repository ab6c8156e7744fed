"""An extraction run: photographs through the network into a store, resumably."""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Literal, get_args

from sparsefeat.errors import SourceError
from sparsefeat.images import AnyPath, Source, each_picture, find_picture
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.pipeline.profile import Profile
from sparsefeat.pipeline.progress import Progress
from sparsefeat.pipeline.todo import pick
from sparsefeat.store import StoreWriter, Values
from sparsefeat.system.choices import check_choice
from sparsefeat.system.paths import checked_path
from sparsefeat.system.text import counted
from sparsefeat.types import Reject

Identity = Literal["mtime", "digest"]
IDENTITIES: tuple[str, ...] = get_args(Identity)


def extract_to_store(
    extractor: Extractor,
    pictures: AnyPath | Iterable[AnyPath | Source | Reject],
    folder: str | os.PathLike[str],
    *,
    rows_per_part: int = 1024,
    values: str | Values = "float32",
    identity: Identity = "mtime",
    retry_rejects: bool = False,
    update: bool = False,
    report: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    profile: Profile | None = None,
) -> Progress:
    """Extract what the store doesn't hold yet, and commit it part by part.

    What can't be read for a cause that lies in the system is counted in the result and not
    recorded: the same call tries it again.

    Parameters
    ----------
    extractor
        Its settings and layers must be those of the store, if there is one already.
    pictures
        What `list_pictures` found; or a folder, a file or a pattern, or several of them.
    folder
        The store; made if it isn't there.
    rows_per_part
        Rows that are committed together: what a killed run loses at most.
    values
        How exactly values are stored: ``float32`` (all bits), ``float16``, ``bfloat16``,
        ``bits:N`` or ``uint8``. What others than the first lose stands in the result's `losses`
        and in the store. An int8 model's values are whole numbers of some step, and stored as
        those, to the last bit.
    identity
        What tells a stored picture from a new one besides its path below the root: its size
        and modification time, or the digest of its bytes (which reads every file).
    retry_rejects
        Try again what an earlier run rejected.
    update
        Give images that changed on disk since they were stored a new row, in place of the old
        one. Without it their rows stay as they are, and `Progress.changed` lists them.
    report
        Called after every batch and at the end; always with the same object.
    stop
        Once set, the run ends after the batch in hand and commits it.
    profile
        Measures the stages.

    Raises
    ------
    InputError
        A value can't be stored as `values` wants it, before any of its batch is; what came before
        is committed.
    SourceError
        The folder of the pictures vanished, or can't be read any more; what came before is
        committed.
    StoreMismatchError
        The store was made with other settings, layers or values.
    StoreWriteError
        The disk refused. What was committed before stays.
    """
    check_choice(identity, IDENTITIES, "identity")
    listed = [
        find_picture(each) if isinstance(each, str | os.PathLike) else each
        for each in each_picture(pictures)
    ]
    progress, profile = Progress(total=len(listed)), profile or Profile()
    with (
        profile.running(),
        StoreWriter.open(
            checked_path(folder, "a store"),
            layers=list(extractor.layers.values()),
            settings=extractor.settings,
            provenance=extractor.provenance,
            rows_per_part=rows_per_part,
            values=values,
            steps=extractor.steps,
            replace=update,
            operation="update" if update else "extract",
        ) as writer,
    ):
        todo = pick(
            listed,
            writer.index,
            progress,
            by_digest=identity == "digest",
            retry_rejects=retry_rejects,
            update=update,
            stop=stop,
        )
        batches = extractor.activations(todo, errors="ignore", profile=profile)
        try:
            with closing(batches):
                for batch in batches:
                    with profile.busy("write"):
                        added = writer.append(batch)
                    copies = len(batch.rows) - added
                    progress.appended(rows=added, copies=copies, rejects=batch.rejects)
                    if report is not None:
                        report(progress)
                    if stop is not None and stop.is_set():
                        break
        except SourceError as exc:
            writer.commit()
            raise SourceError(f"{exc} ({counted(progress.rows, 'row')} added before)") from exc
        with profile.busy("write"):
            writer.commit()
    progress.losses = dict(writer.losses)
    progress.stopped = progress.done < progress.total
    if report is not None:
        report(progress)
    return progress
