"""Putting text, tables, images and plots on one page."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sparsefeat.system import importing

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.j2"
STYLE = "page.css"

NEEDED = ("plotly.graph_objects", "jinja2")


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
    """An image with words below it: `src` is a data URL; without one, `missing` says why."""

    title: str
    alt: str
    src: str = ""
    missing: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images under a heading."""

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


KINDS: dict[type, str] = {
    str: "text",
    Table: "table",
    Grid: "grid",
    Tiles: "tiles",
    Gallery: "gallery",
    Details: "details",
}


def check_installed() -> None:
    """Find out whether pages can be made, before the work that they are to show.

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
    """Write a page as HTML: style, scripts and data in it, nothing to load.

    Parameters
    ----------
    title
        Also the page's first heading.
    lead
        One line below it.
    contents
        Begin with links to the sections.

    Returns
    -------
    str
        About 5 MB, nearly all of it plotly.js, which is there once, and only if there is a plot.

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
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tied"] = _tied
    parts = [part for section in sections for part in section.parts]
    widgets = [part for part in parts if isinstance(part, Widget)]
    plots = any(isinstance(part, Figure | Grid) for part in parts)
    plots = plots or any(widget.plotly for widget in widgets)
    styles = [(FOLDER / STYLE).read_text(encoding="utf-8"), *(each.style for each in widgets)]
    return environment.get_template(TEMPLATE).render(
        title=title,
        lead=lead,
        contents=contents,
        style=Markup("\n".join(styles)),
        script=Markup(_plotly_js()) if plots else "",
        sections=[
            {"title": section.title, "parts": [_prepared(part) for part in section.parts]}
            for section in sections
        ],
    )


def _prepared(part: Part) -> dict[str, Any]:
    """Give the template the part and its kind."""
    from markupsafe import Markup

    if isinstance(part, Figure):
        # plotly writes "<" in data as an escape, so that no text can end its script.
        html = part.plot.to_html(
            full_html=False,
            include_plotlyjs=False,
            config={"displaylogo": False, "responsive": True, "displayModeBar": False},
        )
        return {"kind": "figure", "it": part, "plot": Markup(html)}
    if isinstance(part, Widget):
        return {"kind": "widget", "html": Markup(part.html)}
    inner = part.parts if isinstance(part, Grid | Details) else ()
    return {
        "kind": KINDS.get(type(part), "list"),
        "it": part,
        "parts": [_prepared(one) for one in inner],
    }


def _tied(text: str) -> str:
    """Keep a number and its percent sign on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
