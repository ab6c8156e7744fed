"""Pages that stand alone: one HTML file with its plots, that needs no network."""

from sparsefeat.pages.page import Figure, Part, Section, Table, Widget, check_installed, render_page

__all__ = ["Figure", "Part", "Section", "Table", "Widget", "check_installed", "render_page"]
