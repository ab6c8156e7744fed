import sys

import numpy as np
import pytest

from sparsefeat.errors import InputError, MissingDependencyError

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
            np.testing.assert_array_equal(np.isnan(zeros.z), exact != 0)
            np.testing.assert_array_equal(np.nan_to_num(values.z), exact)
            assert values.zmax == panel.limits[index]
            assert values.zmin == (-panel.limits[index] if panel.colours == "signed" else 0)
            assert f"channel {maps.channels[index]}, {panel.title}" in values.hovertemplate
            assert "0 (exactly)" in zeros.hovertemplate


def test_it_is_shown_in_notebooks() -> None:
    maps = made(stage="post")
    assert maps.figure()._repr_html_() is not None
    bundle = maps._repr_mimebundle_()
    assert bundle["text/plain"] == repr(maps)
    assert len(repr(maps)) < 300
    assert bundle["image/png"].startswith("iVBORw0KGgo")


def test_no_overlaps_and_inside() -> None:
    for n in (1, 3, 16):
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


def test_more_than_a_figure_can_show() -> None:
    with pytest.raises(InputError, match=r"at most 32.*html"):
        made(noise(2, 2, 33)).figure()
    with pytest.raises(InputError, match="shared, channel"):
        made().figure(scale="both")  # type: ignore[arg-type]


def test_plotly_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(MissingDependencyError, match=r"sparsefeat\[viz\]"):
        made().figure()
