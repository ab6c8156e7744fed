import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import DependencyError, InputError
from sparsefeat.viz.maps import Stage

from .made import made, noise


def test_each_channel_and_panel_is_a_plot() -> None:
    maps = made()
    figure = maps.figure(scale="channel")
    panels = maps.panels()
    assert len(figure.data) == 2 * len(panels) * 5
    number = 0
    for index in range(5):
        for panel in panels:
            zeros, values = figure.data[2 * number : 2 * number + 2]
            number += 1
            exact = panel.values[..., index]
            assert values.xaxis == zeros.xaxis == f"x{number}".removesuffix("1" * (number == 1))
            np.testing.assert_array_equal(np.isnan(values.z), exact == 0)
            assert zeros.z.dtype == np.uint8
            np.testing.assert_array_equal(zeros.z, np.zeros(exact.shape))
            np.testing.assert_array_equal(np.nan_to_num(values.z), exact)
            assert values.zmax == panel.limits[index]
            assert values.zmin == (-panel.limits[index] if panel.colours == "signed" else 0)
            assert f"channel {maps.channels[index]}, {panel.title}" in values.hovertemplate
            assert "0 (exactly)" in zeros.hovertemplate


def test_hovering_shows_channel_position_and_value(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    maps = made()
    path = tmp_path / "figure.html"
    maps.figure().write_html(path, include_plotlyjs=True, div_id="plot")
    page = open_page(path)
    where = """([number, row, column]) => {
        const plot = document.getElementById("plot");
        const bounds = plot.getBoundingClientRect();
        const name = number > 1 ? number : "";
        const [x, y] = ["xaxis", "yaxis"].map((kind, i) => {
            const axis = plot._fullLayout[kind + name];
            return axis._offset + axis.d2p(i ? row : column);
        });
        return [bounds.left + x, bounds.top + y];
    }"""
    page.wait_for_function("document.querySelector('#plot .heatmaplayer image') !== null")
    for number, row, column in [(1, 0, 0), (1, 3, 4), (2, 0, 0), (2, 5, 7), (7, 2, 2), (8, 2, 2)]:
        page.mouse.move(1, 1)
        page.mouse.move(*page.evaluate(where, [number, row, column]), steps=3)
        panel = maps.panels()[(number - 1) % 2]
        index = (number - 1) // 2
        text = page.locator(".hoverlayer .hovertext").filter(
            has_text=f"channel {maps.channels[index]}, {panel.title}row {row}, column {column}"
        )
        shown = text.text_content().split(f"column {column}")[1]
        value = float(panel.values[row, column, index])
        assert (shown == "0 (exactly)") == (value == 0)
        if value:
            read = float(shown.replace("\u2212", "-").replace("k", "e3"))
            assert read == pytest.approx(value, 5e-3)


@pytest.mark.parametrize(("shape", "n"), [((224, 224), 17), ((6, 8), 5), ((1, 1), 64)])
@pytest.mark.parametrize("empty", [False, True])
def test_a_figure_fits_its_size(shape: tuple[int, int], n: int, empty: bool) -> None:
    pre = noise(*shape, n)
    pre *= not empty
    figure = made(pre).figure()
    assert figure.data[0].z.shape == shape
    assert 1000 < len(figure.to_json()) < 15_000_000


def test_64_channels_are_drawn_as_a_grid() -> None:
    maps = made(noise(224, 224, 64), stage="post")
    figure = maps.figure()
    assert len(figure.data) == 2 * 64
    lefts = {figure.layout[f"xaxis{number}"].domain[0] for number in range(1, 65)}
    lows = {figure.layout[f"yaxis{number}"].domain[0] for number in range(1, 65)}
    assert (len(lefts), len(lows)) == (8, 8)
    assert "every 2nd row and column" in figure.layout.title.text
    for index in (0, 9, 63):
        exact = maps.post[::2, ::2, index]
        values = figure.data[2 * index + 1]
        np.testing.assert_array_equal(np.nan_to_num(values.z), exact)
        np.testing.assert_array_equal(np.isnan(values.z), exact == 0)
        assert (values.dx, values.dy) == (2, 2)
    assert len(figure.to_json()) < 15_000_000


@pytest.mark.parametrize(
    ("height", "n", "stage", "ordinal"),
    [(224, 32, "both", "2nd"), (448, 64, "both", "4th"), (1600, 1, "post", "2nd")],
)
def test_large_figures_leave_out_rows_and_columns(
    height: int, n: int, stage: Stage, ordinal: str
) -> None:
    figure = made(noise(height, height, n), stage=stage).figure()
    assert figure.layout.title.text.endswith(f", every {ordinal} row and column")
    assert len(figure.to_json()) < 15_000_000


def test_hovering_names_the_row_and_column_of_the_layer(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    maps = made(noise(225, 225, 64), stage="post")
    path = tmp_path / "figure.html"
    maps.figure().write_html(path, include_plotlyjs=True, div_id="plot")
    page = open_page(path)
    page.wait_for_function("document.querySelectorAll('#plot .heatmaplayer image').length >= 128")
    found = []
    for left, top in [(0.2, 0.3), (0.5, 0.5), (0.7, 0.6)]:
        page.mouse.move(1, 1)
        point = page.evaluate(
            """([left, top]) => {
                const plot = document.getElementById("plot");
                const { xaxis, yaxis } = plot._fullLayout;
                const bounds = plot.getBoundingClientRect();
                return [
                    bounds.left + xaxis._offset + left * xaxis._length,
                    bounds.top + yaxis._offset + top * yaxis._length,
                ];
            }""",
            [left, top],
        )
        page.mouse.move(*point, steps=3)
        label = page.locator(".hoverlayer .hovertext").first
        page.wait_for_function(
            """([row, column]) => {
                const line = document.querySelectorAll(".hoverlayer .hovertext tspan.line")[1];
                const found = line && line.textContent.match(/\\d+/g).map(Number);
                return found && Math.abs(found[0] - row) < 4 && Math.abs(found[1] - column) < 4;
            }""",
            arg=[225 * top, 225 * left],
        )
        _, where, text = label.locator("tspan.line").all_text_contents()
        row, column = re.findall(r"\d+", where)
        found.append((int(row), int(column)))
        value = float(maps.post[int(row), int(column), 0])
        assert (text == "0 (exactly)") == (value == 0)
        if value:
            assert float(text.replace("k", "e3")) == pytest.approx(value, 5e-3)
    assert all(row % 2 == column % 2 == 0 for row, column in found)


def test_no_name_becomes_markup(open_page: Callable[..., Any], tmp_path: Path) -> None:
    hostile = "<a href='https://example.org'>cat</a> <b>& &lt; $x$\n.jpg"
    path = tmp_path / "figure.html"
    made(image=hostile).figure().write_html(path, include_plotlyjs=True)
    page = open_page(path)
    title = page.locator(".gtitle")
    assert title.text_content() == "block1_conv1, " + hostile.replace("\n", "\\n")
    assert page.locator(".gtitle a, .gtitle tspan").count() == 0


def test_a_figure_is_shown_in_notebooks() -> None:
    maps = made(stage="post")
    assert maps.figure()._repr_html_() is not None
    bundle = maps._repr_mimebundle_()
    assert bundle["text/plain"] == repr(maps)
    assert len(repr(maps)) < 300
    assert bundle["image/png"].startswith("iVBORw0KGgo")


def test_titles_and_plots_do_not_overlap_or_leave_the_figure() -> None:
    for n in (1, 3, 16, 20):
        figure = made(noise(6, 8, n)).figure(relu_split=True)
        boxes = [
            (*figure.layout[f"xaxis{i}"].domain, *figure.layout[f"yaxis{i}"].domain)
            for i in range(1, 2 * n + 1)
        ]
        for i, (left, right, low, high) in enumerate(boxes):
            assert 0 <= left < right <= 1
            assert 0 <= low < high <= 1
            for other in boxes[:i]:
                apart_x = left >= other[1] or right <= other[0]
                apart_y = low >= other[3] or high <= other[2]
                assert apart_x or apart_y


def test_too_many_plots_are_refused() -> None:
    with pytest.raises(InputError, match=r"65 channels.*2 plots each.*at most 64.*'top:64'.*html"):
        made(noise(2, 2, 65)).figure()
    with pytest.raises(InputError, match=r"got 129 channels for one figure, expected at most 128"):
        made(noise(2, 2, 129), stage="post").figure()
    with pytest.raises(InputError, match="shared, channel"):
        made().figure(scale="both")  # type: ignore[arg-type]


def test_missing_plotly_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(DependencyError, match=r"sparsefeat\[viz\]"):
        made().figure()
