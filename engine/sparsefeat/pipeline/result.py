"""The result of an extraction run."""

from dataclasses import dataclass, field
from typing import Any

from sparsefeat.pipeline.profile import Profile
from sparsefeat.store import Loss
from sparsefeat.types import Batch, ReadFailure, Reject, Skipped, split_failures

MAX_SHOWN = 5  # all rejects are in the store


@dataclass(kw_only=True)
class ExtractionResult:
    """The progress of a run, and at its end the result.

    Attributes
    ----------
    total
        Images that were listed so far.
    all_listed
        Whether these are all.
    rows, rejected, failed
        Outcomes of the images processed so far. An image has failed if the system could not read
        it; it is not recorded, and the next run tries it again.
    already_stored, already_rejected
        Images skipped so far, because the store holds or has rejected them.
    changed
        Paths of images that the store holds but that have changed on disk since; their rows
        stay as they are.
    first_rejects, first_failures
        The first few rejects and failures.
    crashes
        Worker processes that died; their images were tried again.
    stopped
        The run was told to stop, and has committed its finished rows.
    losses
        For each layer that isn't stored to the last bit, how far its stored values are from the
        computed ones; set when the run is over.
    profile
        Where the time went; set when the run is over.
    """

    total: int = 0
    all_listed: bool = False
    rows: int = 0
    rejected: int = 0
    failed: int = 0
    already_stored: int = 0
    already_rejected: int = 0
    changed: list[str] = field(default_factory=list)
    first_rejects: list[Reject] = field(default_factory=list)
    first_failures: list[ReadFailure] = field(default_factory=list)
    crashes: int = 0
    stopped: bool = False
    losses: dict[str, Loss] = field(default_factory=dict)
    profile: Profile | None = None

    def add(self, batch: Batch[Any], rows: int) -> None:
        """Count a batch that was appended to the store, of which `rows` rows were new."""
        self.rows += rows
        self.already_stored += len(batch.rows) - rows
        self.add_skipped(batch.skipped)
        recorded, failures = split_failures(batch.rejects)
        self.rejected += len(recorded)
        self.failed += len(failures)
        self.first_rejects += recorded[: MAX_SHOWN - len(self.first_rejects)]
        self.first_failures += failures[: MAX_SHOWN - len(self.first_failures)]

    def add_skipped(self, images: Skipped) -> None:
        """Count images that the store knows."""
        self.already_stored += images.stored
        self.already_rejected += images.rejected
        self.changed += images.changed

    def add_unit(self, unit: "ExtractionResult") -> None:
        """Count what another process did."""
        self.rows += unit.rows
        self.already_stored += unit.already_stored
        self.rejected += unit.rejected
        self.failed += unit.failed
        self.first_rejects += unit.first_rejects[: MAX_SHOWN - len(self.first_rejects)]
        self.first_failures += unit.first_failures[: MAX_SHOWN - len(self.first_failures)]

    @property
    def worked(self) -> int:
        """Images processed so far."""
        return self.rows + self.rejected + self.failed

    @property
    def done(self) -> int:
        """Images extracted, rejected, failed or skipped so far."""
        return self.worked + self.already_stored + self.already_rejected + len(self.changed)

    @property
    def nothing_readable(self) -> bool:
        """Whether there were images, and none of them could be read."""
        readable = self.rows + self.already_stored + len(self.changed)
        return not readable and self.rejected + self.failed + self.already_rejected > 0
