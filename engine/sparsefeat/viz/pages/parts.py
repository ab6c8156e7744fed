"""What a page is put together from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot.

    `description` says what it shows to who can't see it; `plot` is a ``plotly`` figure.
    """

    caption: str
    description: str
    plot: Any  # plotly.graph_objects.Figure


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text, with or without headings; the first `left` columns are text, others numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Plots side by side, as many as there is room for; few where they are to be `wide`."""

    parts: Sequence[Figure]
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure that stands out, what it is, and a few words on it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Figures that stand out."""

    tiles: Sequence[Tile]


@dataclass(frozen=True, kw_only=True)
class Card:
    """A picture with words below it: `src` is a data URL; without one, `missing` says why."""

    title: str
    alt: str
    src: str = ""
    missing: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures under a heading."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True, kw_only=True)
class Details:
    """What is folded away until it is asked for: no plots, which need to know their width."""

    summary: str
    parts: Sequence["str | Sequence[str] | Table"]


@dataclass(frozen=True, kw_only=True)
class Widget:
    """Markup with a style and scripts of its own, which are put on the page as they are.

    `html` must have been escaped already. With `plotly` its scripts find plotly.js loaded.
    """

    html: str
    style: str = ""
    plotly: bool = False


Part: TypeAlias = str | Sequence[str] | Figure | Table | Grid | Tiles | Gallery | Details | Widget
"""A paragraph, a list of sentences, or one of the above."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Part]
