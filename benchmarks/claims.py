"""Claims about speed and memory, with the values that this run measured."""

from collections.abc import Iterable
from dataclasses import dataclass

from .paired import Ratio


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A measured value and its limit: a lower limit, or an upper one if `most` is set."""

    text: str
    measured: float
    bar: float
    most: bool = False
    unit: str = ""
    spread: tuple[float, float] | None = None  # quartiles

    @classmethod
    def of_speeds(cls, text: str, ratio: Ratio, bar: float) -> "Claim":
        """Claim that one candidate is at least `bar` times as fast as another."""
        spread = (ratio.low, ratio.high)
        return cls(text=text, measured=ratio.median, spread=spread, bar=bar, unit="x")

    @property
    def met(self) -> bool:
        """Whether the value is within the limit."""
        return self.measured <= self.bar if self.most else self.measured >= self.bar


def table(claims: Iterable[Claim]) -> list[str]:
    """Format claims as lines of text: what, measured, quartiles, limit."""
    rows = [("claim", "measured", "quartiles", "limit", "")]
    for claim in claims:
        spread = "" if claim.spread is None else "{:.2f}-{:.2f}".format(*claim.spread)
        bar = f"{'at most' if claim.most else 'at least'} {claim.bar:g}{claim.unit}"
        measured = f"{claim.measured:.2f}{claim.unit}"
        rows.append((claim.text, measured, spread, bar, "met" if claim.met else "missed"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
