"""Putting text, tables and plots on one page."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsefeat.errors import MissingDependencyError

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.j2"
STYLE = "page.css"

NEEDED = ("plotly", "jinja2")


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
class Widget:
    """Markup with a style and scripts of its own, which are put on the page as they are.

    `html` must have been escaped already. With `plotly` its scripts find plotly.js loaded.
    """

    html: str
    style: str = ""
    plotly: bool = False


Part = str | Sequence[str] | Figure | Table | Widget
"""A paragraph, a list of sentences, a plot, a table or markup."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Part]


def check_installed() -> None:
    """Find out whether pages can be made, before the work that they are to show.

    Raises
    ------
    MissingDependencyError
        plotly or Jinja2 isn't installed.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"{name} is not installed, and pages are made with it; install it with: "
                "pip install 'sparsefeat[viz]'"
            )


def render_page(title: str, sections: Sequence[Section], *, lead: str = "") -> str:
    """Write a page as HTML: style, scripts and data in it, nothing to load.

    Parameters
    ----------
    title
        Also the page's first heading.
    lead
        One line below it.

    Returns
    -------
    str
        About 5 MB, nearly all of it plotly.js, which is there once, and only if there is a plot.

    Raises
    ------
    MissingDependencyError
        plotly or Jinja2 isn't installed.

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
    parts = [part for section in sections for part in section.parts]
    widgets = [part for part in parts if isinstance(part, Widget)]
    plots = any(isinstance(part, Figure) or getattr(part, "plotly", False) for part in parts)
    styles = [(FOLDER / STYLE).read_text(encoding="utf-8"), *(each.style for each in widgets)]
    return environment.get_template(TEMPLATE).render(
        title=title,
        lead=lead,
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
    if isinstance(part, Table):
        return {"kind": "table", "it": part}
    if isinstance(part, Widget):
        return {"kind": "widget", "html": Markup(part.html)}
    return {"kind": "text" if isinstance(part, str) else "list", "it": part}


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())
