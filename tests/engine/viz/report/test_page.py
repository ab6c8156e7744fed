import base64
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sparsefeat import build_report, write_report
from sparsefeat.errors import InputError
from sparsefeat.system.text import format_bytes, percent
from sparsefeat.types import Layer
from sparsefeat.viz.report import Report, render_report
from sparsefeat.viz.report.plots import block_means

from ...store.data import make_batch, make_reject, write_store
from ..pages.contrast import contrasts
from .conftest import Real

OpenPage = Callable[..., Any]

# Plots hold numbers as lists or packed; this returns them as drawn.
TRACES = """() => [...document.querySelectorAll(".js-plotly-plot")].map((plot) => ({
  label: plot.closest("[role=group]").getAttribute("aria-label"),
  traces: plot._fullData.map((trace) => ({
    type: trace.type, name: trace.name,
    x: trace.x && [...trace.x], y: trace.y && [...trace.y],
    z: trace.z && [...trace.z].map((row) => [...row]),
  })),
}))"""


def written(report: Report, folder: Path) -> Path:
    path = folder / "report.html"
    assert write_report(report, path) == path.stat().st_size
    return path


def plots(page: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the traces of every plot by its title."""
    return {plot["label"]: plot["traces"] for plot in page.evaluate(TRACES)}


def named(found: dict[str, Any], words: str) -> Any:
    (one,) = [value for label, value in found.items() if words in label]
    return one


def cells(page: Any, table: str) -> dict[str, list[str]]:
    """Return a table's rows by their first cell, whether folded or not."""
    rows = page.locator(f"table[aria-label^='{table}'] tbody tr").all()
    return {
        (line := [cell.replace("\xa0", " ") for cell in row.locator("th, td").all_text_contents()])[
            0
        ]: line[1:]
        for row in rows
    }


def histogram(shares: npt.NDArray[np.float64]) -> list[int]:
    inner = shares[(shares > 0) & (shares < 1)]
    tenths = [int(((inner >= n / 10) & (inner < (n + 1) / 10)).sum()) for n in range(10)]
    return [int((shares == 0).sum()), *tenths, int((shares == 1).sum())]


def test_plots_show_numpy_s_counts(real: Real, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(written(real.report, tmp_path))
    found = plots(page)
    mean, everything, half = named(found, "share of zeros in each layer")
    assert mean["y"] == list(real.dense)
    for row, (name, x) in enumerate(real.dense.items()):
        zero = x == 0
        assert mean["x"][row] == pytest.approx(100 * zero.mean(), abs=1e-9)
        shares = zero.reshape(len(x), -1).mean(axis=1)
        assert everything["x"][3 * row : 3 * row + 2] == pytest.approx(
            [100 * shares.min(), 100 * shares.max()]
        )
        assert half["x"][3 * row : 3 * row + 2] == pytest.approx(
            [100 * quartile for quartile in quantiles(shares.tolist(), method="inclusive")[::2]]
        )
        active = ~zero.reshape(len(x), -1, x.shape[-1])
        images = named(found, "by the share of images")[row]
        assert images["y"] == histogram(active.any(axis=1).mean(axis=0))
        positions = named(found, "by the share of positions")[row]
        assert positions["y"] == histogram(active.mean(axis=(0, 1)))
        (heat,) = named(found, f"each position of {name},")
        expected = zero.mean(axis=(0, 3))
        expected = block_means(expected, 2) if name == "block1_pool" else expected
        assert len(heat["z"]) == len(expected)
        np.testing.assert_allclose(heat["z"], 100 * expected, atol=0.0051)
    sizes = named(found, "share of dense float32")
    for trace, field in zip(sizes[:2], ("csr", "stored"), strict=True):
        assert trace["x"] == pytest.approx(
            [100 * getattr(size, field) / size.dense for size in real.report.sizes.layers]
        )


def test_tables_have_the_numbers_of_the_plots(
    real: Real, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(written(real.report, tmp_path))
    layers = cells(page, "Share of zeros of the images")
    sizes = cells(page, "Bytes")
    channels = cells(page, "Number of channels, over 6 images")
    maps = cells(page, "Share of zeros by position")
    for name, x in real.dense.items():
        zero = x == 0
        shares = zero.reshape(len(x), -1).mean(axis=1)
        assert layers[name] == [
            "x".join(map(str, x.shape[1:])),
            percent(float(shares.mean())),
            percent(float(shares.std(ddof=1))),
            percent(float(shares.min())),
            *map(percent, quantiles(shares.tolist(), method="inclusive")),
            percent(float(shares.max())),
        ]
        assert sizes[name][1] == format_bytes(x.nbytes)
        active = ~zero.reshape(len(x), -1, x.shape[-1])
        assert channels[name] == [
            str(x.shape[-1]),
            str((~active.any(axis=(0, 1))).sum()),
            str(active.any(axis=1).all(axis=0).sum()),
            str(active.all(axis=(0, 1)).sum()),
        ]
        positions = zero.mean(axis=(0, 3))
        rim = np.ones(positions.shape, bool)
        rim[1:-1, 1:-1] = False
        assert maps[name][:2] == [
            percent(float(positions[rim].mean())),
            percent(float(positions[~rim].mean())),
        ]
    assert cells(page, "Images that could not be read") == {"zz-broken.jpg": ["not an image"]}
    weights = real.report.settings["model"]["weights_sha256"]  # type: ignore[index, call-overload]
    assert cells(page, "Model and settings")["SHA-256 of the weights"] == [weights]


@pytest.mark.parametrize("width", [380, 1200])
def test_the_page_is_drawn_and_fits_the_screen(
    real: Real, open_page: OpenPage, tmp_path: Path, width: int
) -> None:
    path = written(real.report, tmp_path)
    assert path.stat().st_size < 6_000_000
    page = open_page(path, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".js-plotly-plot").count() == 4 + 6
    assert page.locator(".js-plotly-plot .heatmaplayer image").count() == 6
    for plot in page.locator(".js-plotly-plot").all():
        frame, outer = plot.bounding_box(), plot.locator("xpath=ancestor::figure").bounding_box()
        assert frame["height"] > 100
        assert frame["x"] + frame["width"] <= outer["x"] + outer["width"] + 1
    images = page.locator("img").all()
    assert len(images) == 6
    for image in images:
        assert image.get_attribute("alt")
        assert image.evaluate("(image) => image.complete && image.naturalWidth") > 50
    for plot in page.locator(".plot[role=group]").all():
        assert plot.get_attribute("aria-label")
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_text_has_enough_contrast(real: Real, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(written(real.report, tmp_path))
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = contrasts(page)
        assert len(found) > 300
        assert [(text, ratio) for text, ratio in found if ratio < 4.5] == [], scheme


def test_hovering_shows_numbers(real: Real, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(written(real.report, tmp_path))

    def hover(plot: str, x: float, y: float) -> str:
        area = page.get_by_role("group", name=plot).locator(".nsewdrag").last
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        page.mouse.move(box["x"] + x * box["width"] - 3, box["y"] + y * box["height"])
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        label = page.get_by_role("group", name=plot).locator(".hoverlayer .hovertext")
        label.first.wait_for()
        return str(label.first.text_content())

    share = percent(float((real.dense["block1_pool"] == 0).mean()))
    assert f"mean {share}" in hover("Bars of the share of zeros", 0.05, 0.08)
    corner = (real.dense["block5_pool"][:, -1, -1] == 0).mean()
    said = hover("each position of block5_pool", 0.93, 0.93)
    assert said.startswith(f"row 6, column 6: {100 * corner:.1f}")
    assert "of 512 channels" in hover("Histograms of channels by the share of images", 0.95, 0.9)


def odd_store(folder: Path, case: str) -> Report:
    unit = Layer(name="fc1", shape=(40,))
    layers = [Layer(name="block5_pool", shape=(3, 3, 8)), unit]
    if case == "nothing but rejects":
        rejects = [make_reject(n, path=f"<b>{n}</b>\n.png") for n in range(25)]
        write_store(folder, [make_batch([], layers, rejects)], layers)
    elif case == "one image":
        write_store(folder, [make_batch([0], layers)], layers)
    elif case == "no positions":
        write_store(folder, [make_batch(range(12), [unit])], [unit])
    elif case == "stored dense":
        dense = [Layer(name="fc", shape=(40,))]
        write_store(folder, [make_batch(range(12), dense)], dense)
    elif case == "before ReLU":
        pre = [Layer(name="fc1/pre", shape=(40,)), Layer(name="block1_conv1/pre", shape=(1, 5, 3))]
        write_store(folder, [make_batch(range(3), pre)], pre)
    elif case == "many layers and parts":
        many = [Layer(name=f"block{n}_conv1", shape=(2, 2, 4)) for n in range(12)]
        write_store(folder, [make_batch(range(13), many)], many, rows_per_part=2)
    return build_report(folder)


@pytest.mark.parametrize(
    ("case", "n_plots"),
    [
        ("nothing but rejects", 0),
        ("one image", 5),
        ("no positions", 4),
        ("stored dense", 4),
        ("before ReLU", 5),
        ("many layers and parts", 16),
    ],
)
def test_unusual_stores_have_a_page(
    open_page: OpenPage, tmp_path: Path, case: str, n_plots: int
) -> None:
    report = odd_store(tmp_path / "store", case)
    page = open_page(written(report, tmp_path), width=380)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    assert page.locator(".js-plotly-plot .main-svg:first-child").count() == n_plots
    words = page.locator("main").inner_text()
    assert not re.search(r"\bnan\b|\bNone\b(?! of the)", words)
    if case == "nothing but rejects":
        assert "5 more are not shown" in words
        assert "<b>0</b>" in words


def test_unusual_images_are_limited_and_missing_files_are_explained(
    open_page: OpenPage, tmp_path: Path
) -> None:
    layer = Layer(name="block5_pool", shape=(2, 2, 50))

    def make(layer: Layer, numbers: Any) -> npt.NDArray[np.float32]:
        rows = np.ones((len(numbers), layer.n_features), np.float32)
        for row, number in enumerate(numbers):
            rows[row, : 90 + number % 7 + 70 * (number < 15)] = 0
        return rows

    write_store(tmp_path / "s", [make_batch(range(100), [layer], make=make)], [layer])
    report = build_report(tmp_path / "s")
    assert len(report.outliers) == 15
    page = open_page(written(report, tmp_path))
    cards = page.get_by_role("list", name="15 images; these are the 12 most").locator("li")
    assert cards.count() == 12
    assert "Not shown: no such file" in cards.first.inner_text()
    assert "zeros in block5_pool" in cards.first.inner_text()


def test_the_page_does_not_grow_with_the_number_of_images(real: Real) -> None:
    """Plots show counts, so the page grows only with the number of layers."""
    counts = {
        name: dataclasses.replace(zeros, per_row=np.tile(zeros.per_row, 200))
        for name, zeros in real.report.zeros.items()
    }
    many = dataclasses.replace(real.report, n_rows=1200, zeros=counts)
    few, much = len(render_report(real.report)), len(render_report(many))
    assert abs(much - few) < 2_000


def test_a_page_that_cannot_be_written_is_an_error(real: Real, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"can't write .*file.report.html"):
        write_report(real.report, tmp_path / "file" / "report.html")


def test_thumbnails_are_small(real: Real) -> None:
    for image in real.report.images.values():
        content = base64.b64decode(image.thumbnail.src.split(",")[1])
        assert 500 < len(content) < 15_000
