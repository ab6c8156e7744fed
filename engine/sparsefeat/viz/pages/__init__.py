"""HTML pages with plots, each a single file that needs no network."""

from sparsefeat.viz.pages.page import (
    Card,
    Details,
    Figure,
    Gallery,
    Grid,
    Part,
    Section,
    Table,
    Tile,
    Tiles,
    Widget,
    check_installed,
    load_template,
    render_page,
)

__all__ = [
    "Card",
    "Details",
    "Figure",
    "Gallery",
    "Grid",
    "Part",
    "Section",
    "Table",
    "Tile",
    "Tiles",
    "Widget",
    "check_installed",
    "load_template",
    "render_page",
]
