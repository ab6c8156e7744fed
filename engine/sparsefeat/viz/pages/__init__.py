"""Pages that stand alone: one HTML file with its plots, that needs no network."""

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
    "render_page",
]
