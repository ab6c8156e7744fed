"""Putting text, tables, pictures and plots on one page."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsefeat.system.dependencies import importing
from sparsefeat.viz.pages.parts import (
    Details,
    Figure,
    Gallery,
    Grid,
    Part,
    Section,
    Table,
    Tiles,
    Widget,
)

FOLDER = Path(__file__).parent
TEMPLATE = "page.html.j2"
STYLE = "page.css"

NEEDED = ("plotly.graph_objects", "jinja2")

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
