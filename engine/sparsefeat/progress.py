"""How far an extraction is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sparsefeat.records import Reject
from sparsefeat.values import Loss

KEPT_REJECTS = 5  # all of them stand in the store


@dataclass(kw_only=True)
class Progress:
    """How far a run is, and at its end what came of it.

    Attributes
    ----------
    total
        Pictures that were listed.
    rows, rejected
        What became of those worked on so far.
    already_stored, already_rejected
        Pictures met so far that the store holds, or has rejected, and that were passed over.
    changed
        Paths of pictures that the store holds but that have changed on disk since; their rows
        stay as they are.
    first_rejects
        The first few of the rejected.
    stopped
        The run was told to stop, and has committed what it had.
    losses
        Of each layer that isn't kept to the last bit, how far its stored values are from what was
        computed; once the run is over.
    """

    total: int
    rows: int = 0
    rejected: int = 0
    already_stored: int = 0
    already_rejected: int = 0
    changed: list[str] = field(default_factory=list)
    first_rejects: list[Reject] = field(default_factory=list)
    stopped: bool = False
    losses: dict[str, Loss] = field(default_factory=dict)

    def appended(self, *, rows: int, copies: int, rejects: Sequence[Reject]) -> None:
        """Count what was handed to the store; `copies` are pictures that it held already."""
        self.rows += rows
        self.already_stored += copies
        self.rejected += len(rejects)
        self.first_rejects += rejects[: KEPT_REJECTS - len(self.first_rejects)]

    @property
    def worked(self) -> int:
        """Pictures worked on so far."""
        return self.rows + self.rejected

    @property
    def done(self) -> int:
        """Pictures dealt with so far, those passed over included."""
        return self.worked + self.already_stored + self.already_rejected + len(self.changed)

    @property
    def nothing_readable(self) -> bool:
        """Whether there were pictures, and every one of them is a reject."""
        readable = self.rows + self.already_stored + len(self.changed)
        return not readable and self.rejected + self.already_rejected > 0
