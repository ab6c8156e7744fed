import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.errors import MissingDependencyError
from sparsefeat.pages import Figure, Part, Section, Table, Widget, check_installed, render_page

HOSTILE = "</script><script>document.title='taken'</script> & \"quoted\""


def figure(text: str = "a plot") -> Figure:
    import plotly.graph_objects as go

    plot = go.Figure(go.Bar(x=[1, 2], y=[text, "b"], orientation="h"))
    return Figure(caption="Two bars", description=text, plot=plot)


def test_text_lists_tables_and_plots(open_page: Callable[..., Any], tmp_path: Path) -> None:
    table = Table(caption="Numbers", columns=("name", "count"), rows=[("one", "1"), ("two", "2")])
    bare = Table(caption="Facts", columns=(), rows=[("key", "value")], left=2)
    parts: list[Part] = ["Some words.", ["first", "second"], figure(), table, bare]
    path = tmp_path / "page.html"
    path.write_text(render_page("A title", [Section(title="All", parts=parts)], lead="A lead"))
    page = open_page(path)
    assert page.title() == page.locator("h1").inner_text() == "A title"
    assert page.locator("li").all_inner_texts() == ["first", "second"]
    assert page.locator("td.number").all_inner_texts() == ["1", "2"]
    assert page.get_by_role("img", name="a plot").count() == 1
    assert page.locator(".barlayer .point").count() == 2
    assert page.locator("thead").count() == 1
    assert page.get_by_role("table", name="Facts").inner_text().split() == ["key", "value"]


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


def test_widgets_bring_their_own_style_and_script(
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


def test_no_text_becomes_markup(open_page: Callable[..., Any], tmp_path: Path) -> None:
    table = Table(caption=HOSTILE, columns=(HOSTILE,), rows=[(HOSTILE,)])
    parts: list[Part] = [HOSTILE, [HOSTILE], figure(HOSTILE), table]
    path = tmp_path / "page.html"
    path.write_text(render_page("Safe", [Section(title=HOSTILE, parts=parts)], lead=HOSTILE))
    page = open_page(path)
    assert page.title() == "Safe"
    assert page.locator("h2").inner_text() == HOSTILE
    assert page.locator(".barlayer .point").count() == 2


def test_the_script_is_there_once_and_only_for_plots() -> None:
    without = render_page("T", [Section(title="S", parts=["words"])])
    assert len(without) < 10_000
    assert "<script" not in without
    one = render_page("T", [Section(title="S", parts=[figure()])])
    two = render_page("T", [Section(title="S", parts=[figure(), figure()])])
    assert len(two) - len(one) < 50_000 < 1_000_000 < len(one)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jinja2" else find_spec(name)
    )
    with pytest.raises(MissingDependencyError, match=r"jinja2 .*sparsefeat\[viz\]"):
        check_installed()
