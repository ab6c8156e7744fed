"""Writes a page of text, tables, images and plots."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sparsefeat.system import importing

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent

NEEDED = ("plotly.graph_objects", "jinja2")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plotly figure; `description` says what it shows, for screen readers."""

    caption: str
    description: str
    plot: Any  # plotly.graph_objects.Figure


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text below column names, if there are any.

    The first `left` columns are text, the others numbers.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Plots side by side, as many as fit; `wide` plots are fewer and larger."""

    parts: Sequence[Figure]
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number in large type, with its name and a short note."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Numbers in large type, side by side."""

    tiles: Sequence[Tile]


@dataclass(frozen=True, kw_only=True)
class Card:
    """An image with text below it: `src` is a data URL; without one, `missing` says why."""

    title: str
    alt: str
    src: str = ""
    missing: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images below a heading."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True, kw_only=True)
class Details:
    """Parts that are folded until the reader opens them.

    Plots are not allowed: plotly needs their width when it draws them, and folded parts have none.
    """

    summary: str
    parts: Sequence["str | Sequence[str] | Table"]


@dataclass(frozen=True, kw_only=True)
class Widget:
    """Markup with its own style and scripts, which go on the page unchanged.

    `html` must be escaped already. With `plotly`, plotly.js is loaded before its scripts.
    """

    html: str
    style: str = ""
    plotly: bool = False


Part: TypeAlias = str | Sequence[str] | Figure | Table | Grid | Tiles | Gallery | Details | Widget
"""A part of a page: a paragraph, a list of sentences, or one of the classes above."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and the parts below it."""

    title: str
    parts: Sequence[Part]


def check_installed() -> None:
    """Check that pages can be written, so that a command fails before it computes their content.

    Raises
    ------
    DependencyError
        plotly or Jinja2 isn't installed, or doesn't load.
    """
    for name in NEEDED:
        package = name.partition(".")[0]
        with importing(package, "pip install 'sparsefeat[viz]'", purpose="pages are made with it"):
            importlib.import_module(name)


def render_page(
    title: str, sections: Sequence[Section], *, lead: str = "", contents: bool = False
) -> str:
    """Return a page as HTML that contains its style, scripts and data.

    Parameters
    ----------
    title
        The title, also the first heading.
    sections
        The sections, in order.
    lead
        A line below the title.
    contents
        Whether to begin with links to the sections.

    Returns
    -------
    str
        The page: about 5 MB if it has a plot, nearly all of it plotly.js.

    Raises
    ------
    DependencyError
        plotly or Jinja2 isn't installed, or doesn't load.

    Examples
    --------
    >>> page = render_page("Hello", [Section(title="World", parts=["2 < 3"])])
    >>> "2 &lt; 3" in page
    True
    """
    check_installed()
    from plotly.offline import get_plotlyjs

    parts = [part for section in sections for part in section.parts]
    widgets = [part for part in parts if isinstance(part, Widget)]
    plots = any(isinstance(part, Figure | Grid) for part in parts)
    plots = plots or any(widget.plotly for widget in widgets)
    styles = [(FOLDER / "page.css").read_text(encoding="utf-8"), *(each.style for each in widgets)]
    return load_template(FOLDER / "page.html.j2").render(
        title=title,
        lead=lead,
        contents=contents,
        style="\n".join(styles),
        script=get_plotlyjs() if plots else "",
        sections=sections,
    )


def load_template(file: Path) -> "jinja2.Template":
    """Load a template, which escapes the text that it is given unless the template says not to."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(file.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "tied": _tied,
        "drawn": _drawn,
        "kind": lambda part: type(part).__name__,
    }
    return environment.get_template(file.name)


def _drawn(figure: Figure) -> Any:
    """Return a plot as HTML; plotly escapes "<" in data, so that no text can end its script."""
    return figure.plot.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displaylogo": False, "responsive": True, "displayModeBar": False},
    )


def _tied(text: str) -> str:
    """Keep a number and its percent sign on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")
