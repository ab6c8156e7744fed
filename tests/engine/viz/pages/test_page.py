import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.errors import MissingDependencyError
from sparsefeat.viz.pages import (
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

from .contrast import contrasts

HOSTILE = "</script><script>document.title='taken'</script> & \"quoted\""


def figure(text: str = "a plot") -> Figure:
    import plotly.graph_objects as go

    plot = go.Figure(go.Bar(x=[1, 2], y=[text, "b"], orientation="h"))
    return Figure(caption="Two bars", description=text, plot=plot)


def test_text_lists_tables_and_plots_are_shown(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    table = Table(caption="Numbers", columns=("name", "count"), rows=[("one", "1"), ("two", "2")])
    bare = Table(caption="Facts", columns=(), rows=[("key", "value")], left=2)
    parts: list[Part] = ["Some words.", ["first", "second"], figure(), table, bare]
    path = tmp_path / "page.html"
    path.write_text(render_page("A title", [Section(title="All", parts=parts)], lead="A lead"))
    page = open_page(path)
    assert page.title() == page.locator("h1").inner_text() == "A title"
    assert page.locator("li").all_inner_texts() == ["first", "second"]
    assert page.locator("td.number").all_inner_texts() == ["1", "2"]
    assert page.get_by_role("group", name="a plot").count() == 1
    assert page.locator(".barlayer .point").count() == 2
    assert page.locator("thead").count() == 1
    assert page.get_by_role("table", name="Facts").inner_text().split() == ["key", "value"]


# A single red pixel.
DOT = "data:image/gif;base64,R0lGODdhAQABAIEAAP8AAAAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="


def test_tiles_images_grids_and_folded_sections_are_shown(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    cards = [
        Card(title="seen.jpg", alt="a red dot", src=DOT, lines=["12 % zeros"]),
        Card(title="lost.jpg", alt="nothing", missing="no such file"),
    ]
    table = Table(caption="Inside", columns=("name",), rows=[("hidden",)])
    parts: list[Part] = [
        Tiles(tiles=[Tile(name="zeros", value="91 %", note="of all"), Tile(name="n", value="6")]),
        Gallery(title="Two images", cards=cards),
        Grid(parts=[figure("left"), figure("right")], wide=True),
        Details(summary="More", parts=["words", ["an entry"], table]),
    ]
    path = tmp_path / "page.html"
    sections = [Section(title="First", parts=parts), Section(title="Second", parts=["end"])]
    path.write_text(render_page("T", sections, contents=True))
    page = open_page(path)
    assert page.locator("dt").all_inner_texts() == ["zeros", "n"]
    assert page.locator("dd").all_inner_texts() == ["91 %", "of all", "6"]
    assert page.get_by_role("img", name="a red dot").evaluate("(image) => image.naturalWidth") == 1
    items = page.get_by_role("list", name="Two images").locator("li")
    assert items.all_inner_texts()[1].split("\n")[0] == "Not shown: no such file"
    assert items.first.locator(".note").inner_text() == "12\xa0% zeros"
    left, right = (
        page.get_by_role("group", name=name).bounding_box() for name in ("left", "right")
    )
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]
    for one, box in (("left", left), ("right", right)):
        drawn = page.get_by_role("group", name=one).locator(".main-svg").first.bounding_box()
        assert drawn["width"] == pytest.approx(box["width"], abs=1)
    assert not page.get_by_text("hidden").is_visible()
    page.get_by_text("More").click()
    assert page.get_by_text("hidden").is_visible()
    page.get_by_role("link", name="Second").click()
    assert page.url.endswith("#section-2")


def test_all_text_has_enough_contrast(open_page: Callable[..., Any], tmp_path: Path) -> None:
    table = Table(caption="C", columns=("name",), rows=[("cell",)])
    card = Card(title="t", alt="a", missing="gone", lines=["line"])
    parts: list[Part] = [
        *("text", ["entry"], figure(), table, Tiles(tiles=[Tile(name="n", value="1", note="x")])),
        *(Gallery(title="G", cards=[card]), Details(summary="S", parts=[])),
    ]
    path = tmp_path / "page.html"
    page_text = render_page("T", [Section(title="S", parts=parts)], lead="L", contents=True)
    path.write_text(page_text)
    page = open_page(path)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = contrasts(page)
        assert len(found) > 15
        assert [(text, ratio) for text, ratio in found if ratio < 4.5] == [], scheme


@pytest.mark.parametrize("width", [360, 1600])
def test_nothing_is_wider_than_the_screen(
    open_page: Callable[..., Any], tmp_path: Path, width: int
) -> None:
    cells = [f"a cell of some length {index}" for index in range(12)]
    table = Table(caption="Wide " * 30, columns=cells, rows=[cells])
    path = tmp_path / "page.html"
    parts: list[Part] = [figure(), table, "unbroken" * 20]
    path.write_text(render_page("T", [Section(title="W", parts=parts)], lead="/a/path" * 40))
    page = open_page(path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_widgets_have_their_own_style_and_script(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    html = "<b id='own'>?</b><script>document.getElementById('own').textContent = 1 + 1</script>"
    widget = Widget(html=html, style="#own { color: rgb(1, 2, 3); }")
    path = tmp_path / "page.html"
    path.write_text(render_page("T", [Section(title="S", parts=[widget])]))
    page = open_page(path)
    assert page.locator("#own").inner_text() == "2"
    colour = "getComputedStyle(document.getElementById('own')).color"
    assert page.evaluate(colour) == "rgb(1, 2, 3)"
    assert page.evaluate("typeof Plotly") == "undefined"
    path.write_text(render_page("T", [Section(title="S", parts=[Widget(html="", plotly=True)])]))
    assert open_page(path).evaluate("typeof Plotly") == "object"


def test_text_is_never_interpreted_as_markup(open_page: Callable[..., Any], tmp_path: Path) -> None:
    table = Table(caption=HOSTILE, columns=(HOSTILE,), rows=[(HOSTILE,)])
    card = Card(title=HOSTILE, alt=HOSTILE, missing=HOSTILE, lines=[HOSTILE])
    seen = Card(title=HOSTILE, alt=HOSTILE, src=DOT)
    parts: list[Part] = [
        *(HOSTILE, [HOSTILE], figure(HOSTILE), table),
        Tiles(tiles=[Tile(name=HOSTILE, value=HOSTILE, note=HOSTILE)]),
        Gallery(title=HOSTILE, cards=[card, seen]),
        Details(summary=HOSTILE, parts=[HOSTILE]),
    ]
    path = tmp_path / "page.html"
    path.write_text(render_page("Safe", [Section(title=HOSTILE, parts=parts)], lead=HOSTILE))
    page = open_page(path)
    assert page.title() == "Safe"
    assert page.locator("h2").inner_text() == HOSTILE
    assert page.locator(".barlayer .point").count() == 2


def test_plotly_s_script_is_included_once_and_only_for_plots() -> None:
    without = render_page("T", [Section(title="S", parts=["words"])])
    assert len(without) < 10_000
    assert "<script" not in without
    one = render_page("T", [Section(title="S", parts=[figure()])])
    two = render_page("T", [Section(title="S", parts=[figure(), figure()])])
    assert len(two) - len(one) < 50_000 < 1_000_000 < len(one)


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependencyError, match=r"jinja2 .*sparsefeat\[viz\]"):
        check_installed()
