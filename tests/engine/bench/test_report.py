from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.bench import ENGINES, Result, render_report

from ..viz.pages.contrast import contrasts
from .results import measurement, noisy, result


@pytest.fixture(scope="module")
def found() -> Result:
    names = [name for name in ENGINES if name != "onnxruntime-cuda"]
    return result(
        *(
            measurement(
                name,
                noisy(rate, seed=rate),
                batch_size=size,
                repeats_timed=noisy(rate) if name == "tf-jit" else (),
            )
            for size in (1, 8)
            for rate, name in enumerate(names, start=4)
        ),
        left_out={"onnxruntime-cuda": "<no GPU>"},
        settings={"model": "<b>my</b>.onnx"},
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, found: Result) -> Path:
    """The page of these."""
    path = tmp_path_factory.mktemp("report") / "bench.html"
    path.write_text(render_report(found))
    return path


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1200, "dark")])
def test_the_page_shows_all_engines_with_enough_contrast(
    open_page: Callable[..., Any], path: Path, found: Result, width: int, scheme: str
) -> None:
    page = open_page(path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("figure").count() == 4
    assert page.locator(".barlayer .point").count() == 2 * 11
    assert page.locator(".boxlayer .trace").count() == 2 * 11
    assert page.get_by_role("group", name="Bars of images per second in batches of 8").count() == 1
    words = page.locator("main").inner_text()
    assert "<b>my</b>.onnx" in words
    assert "onnxruntime-cuda was left out: <no GPU>" in words
    assert "onnxruntime-openvino-int8 is" in words
    assert found.environment["processor"]["model"] in words
    rows = page.get_by_role("table", name="Ratio: ").locator("tbody tr")
    assert rows.count() == 22
    page.emulate_media(color_scheme=scheme)
    on_bars = set(page.locator(".bartext-inside").all_text_contents())
    faint = [text for text, ratio in contrasts(page) if ratio < 4.5]
    assert set(faint) <= on_bars


def test_one_engine_alone_is_shown_without_a_comparison(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "bench.html"
    path.write_text(render_report(result(measurement("onnxruntime-cpu", [5.0]))))
    page = open_page(path)
    assert "nothing to compare" in page.locator("section").first.inner_text()
