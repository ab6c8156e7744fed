"""What a verification found."""

from dataclasses import dataclass

from sparsefeat.system.text import one_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    what
        What it is, in words; kept in one line.
    part
        The part's name; empty for the store as a whole.
    layer
        The layer's name; empty where it is no layer's data.
    rows
        First row of the part that is affected, and the one after the last; None for all.
    harmless
        Whether every row is undamaged nevertheless.
    """

    what: str
    part: str = ""
    layer: str = ""
    rows: tuple[int, int] | None = None
    harmless: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", one_line(self.what, most=700))

    def __str__(self) -> str:
        where = ", ".join(filter(None, [self.part, self.layer, self._row_range()]))
        return f"{where}: {self.what}" if where else self.what

    def _row_range(self) -> str:
        if self.rows is None:
            return ""
        first, last = self.rows[0], self.rows[1] - 1
        return f"row {first}" if first == last else f"rows {first} to {last}"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """The findings, and how much was looked at.

    `findings` are about the store. `changes` are about the images that were compared with it,
    `pictures` of them: those missing now, that can't be read, or with other bytes than when they
    were stored. The store is none the worse for it. `n_bytes` is what was read of the store.
    """

    findings: tuple[Finding, ...]
    changes: tuple[Finding, ...]
    parts: int
    rows: int
    files: int
    n_bytes: int
    pictures: int

    @property
    def ok(self) -> bool:
        """Whether no part of the store is damaged or missing."""
        return all(finding.harmless for finding in self.findings)
