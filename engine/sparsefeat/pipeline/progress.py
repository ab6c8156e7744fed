"""How far an extraction is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sparsefeat.store import Loss
from sparsefeat.types import ReadFailure, Reject, failures_apart

MOST_SHOWN = 5  # all rejects are in the store


@dataclass(kw_only=True)
class Progress:
    """How far a run is, and at its end what came of it.

    Attributes
    ----------
    total
        Pictures that were listed.
    rows, rejected, failed
        What became of those worked on so far. What failed could not be read for a cause that lies
        in the system; it is not recorded, and the next run tries it again.
    already_stored, already_rejected
        Pictures met so far that the store holds, or has rejected, and that were passed over.
    changed
        Paths of pictures that the store holds but that have changed on disk since; their rows
        stay as they are.
    first_rejects, first_failures
        The first few of the rejected, and of what failed.
    stopped
        The run was told to stop, and has committed what it had.
    losses
        Of each layer that isn't kept to the last bit, how far its stored values are from what was
        computed; once the run is over.
    """

    total: int
    rows: int = 0
    rejected: int = 0
    failed: int = 0
    already_stored: int = 0
    already_rejected: int = 0
    changed: list[str] = field(default_factory=list)
    first_rejects: list[Reject] = field(default_factory=list)
    first_failures: list[ReadFailure] = field(default_factory=list)
    stopped: bool = False
    losses: dict[str, Loss] = field(default_factory=dict)

    def appended(self, *, rows: int, copies: int, rejects: Sequence[Reject]) -> None:
        """Count what was handed to the store; `copies` are pictures that it held already."""
        self.rows += rows
        self.already_stored += copies
        recorded, failures = failures_apart(rejects)
        self.rejected += len(recorded)
        self.failed += len(failures)
        self.first_rejects += recorded[: MOST_SHOWN - len(self.first_rejects)]
        self.first_failures += failures[: MOST_SHOWN - len(self.first_failures)]

    @property
    def worked(self) -> int:
        """Pictures worked on so far."""
        return self.rows + self.rejected + self.failed

    @property
    def done(self) -> int:
        """Pictures dealt with so far, those passed over included."""
        return self.worked + self.already_stored + self.already_rejected + len(self.changed)

    @property
    def nothing_readable(self) -> bool:
        """Whether there were pictures, and none of them could be read."""
        readable = self.rows + self.already_stored + len(self.changed)
        return not readable and self.rejected + self.failed + self.already_rejected > 0
