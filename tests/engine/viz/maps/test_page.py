import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsefeat.errors import InputError
from sparsefeat.system.text import percent
from sparsefeat.viz.maps import FeatureMaps
from sparsefeat.viz.maps.colours import ZERO, paint, rgb
from sparsefeat.viz.maps.page import MAX_BYTES

from ..pages.contrast import contrasts
from .made import made, noise

OpenPage = Callable[..., Any]
HOSTILE = "</script><script>document.title='taken'</script>.jpg"

# The colour on the screen at a point of the window, as [red, green, blue].
PIXEL = """([x, y]) => {
    const grid = document.getElementById("maps-grid");
    const bounds = grid.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    const at = [(x - bounds.left) * ratio, (y - bounds.top) * ratio].map(Math.floor);
    const one = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    one.drawImage(grid, ...at, 1, 1, 0, 0, 1, 1);
    return Array.from(one.getImageData(0, 0, 1, 1).data.slice(0, 3));
}"""


def opened(open_page: OpenPage, folder: Path, maps: FeatureMaps, **options: Any) -> Any:
    path = folder / "maps.html"
    width = options.pop("width", 1100)
    maps.save(path, **options)
    page = open_page(path, width=width)
    page.wait_for_selector("html[data-maps=drawn]")
    return page


def drawn(page: Any) -> None:
    """Wait until the screen shows what was scrolled or changed."""
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def point_of(page: Any, maps: FeatureMaps, index: int, panel: int, row: int, column: int) -> Any:
    """Scroll to a position of the grid, and return its point in the window."""
    cells = json.loads(page.locator("#maps-grid").get_attribute("data-cells"))
    height, width, _ = maps.shape
    x = index % cells["perRow"] * cells["stepX"] + panel * (cells["width"] + 2)
    x += (column + 0.5) / width * cells["width"]
    y = index // cells["perRow"] * cells["stepY"] + 18 + (row + 0.5) / height * cells["height"]
    page.locator("#maps-box").scroll_into_view_if_needed()
    page.evaluate("y => { document.getElementById('maps-box').scrollTop = y - 200; }", y)
    drawn(page)
    top = page.evaluate("document.getElementById('maps-box').scrollTop")
    bounds = page.locator("#maps-grid").bounding_box()
    return bounds["x"] + x, bounds["y"] + y - top


def said(text: str) -> float:
    """Read a value from the page's text."""
    return 0.0 if text == "0 (exactly)" else float(text.replace("\u2212", "-"))


def rounded(value: float | np.floating[Any]) -> float:
    return float(f"{value:.2e}")


@pytest.mark.parametrize("width", [380, 1200])
def test_hovering_over_the_grid_shows_values(
    open_page: OpenPage, tmp_path: Path, width: int
) -> None:
    maps = made()
    assert maps.pre is not None
    page = opened(open_page, tmp_path, maps, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    panels = maps.panels()
    for index, row, column in [(0, 0, 0), (0, 1, 2), (1, 1, 3), (2, 5, 7), (3, 3, 4), (4, 2, 6)]:
        for at, panel in enumerate(panels):
            point = point_of(page, maps, index, at, row, column)
            page.mouse.move(*point)
            lines = page.locator("#maps-tip").inner_text().split("\n")
            channel = maps.channels[index]
            assert lines[0] == f"channel {channel}, row {row}, column {column}"
            for line, shown in zip(lines[1:], panels, strict=True):
                title, _, text = line.partition(": ")
                value = shown.values[row, column, index]
                assert title == shown.title
                assert (text == "0 (exactly)") == (value == 0)
                assert said(text) == rounded(value)
            colours = paint(panel.values[..., index], panel.colours, panel.shared_limit)
            # The frame of the chosen channel covers its edge.
            if index or 0 < row < 5:
                seen = page.evaluate(PIXEL, point)
                assert np.abs(np.subtract(seen, colours[row, column].astype(int))).max() <= 3
    page.mouse.move(1, 1)
    assert page.locator("#maps-tip").is_hidden()


def test_values_equal_numbers_calculated_outside_the_page(
    open_page: OpenPage, tmp_path: Path
) -> None:
    pre = np.zeros((2, 2, 1), np.float32)
    pre[..., 0] = [[-1234.5, 0.0], [0.00012345, 42.25]]
    page = opened(open_page, tmp_path, made(pre))
    texts = []
    for row, column in np.ndindex(2, 2):
        page.mouse.move(*point_of(page, made(pre), 0, 0, row, column))
        texts.append(page.locator("#maps-tip").inner_text().split("\n")[1:])
    before, after = "before ReLU: ", "after ReLU: "
    assert texts == [
        [f"{before}\u22121.23e3", f"{after}0 (exactly)"],
        [f"{before}0 (exactly)", f"{after}0 (exactly)"],
        [f"{before}1.23e-4", f"{after}1.23e-4"],
        [f"{before}42.2", f"{after}42.2"],
    ]


def test_a_click_shows_a_channel_large(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made()
    assert maps.pre is not None
    assert maps.clipped is not None
    page = opened(open_page, tmp_path, maps)
    for index, how in [(2, "box"), (3, "button"), (1, "click")]:
        if how == "box":
            page.locator("#maps-channel").select_option(str(maps.channels[index]))
        elif how == "button":
            page.get_by_label("Next channel").click()
        else:
            page.mouse.click(*point_of(page, maps, index, 1, 3, 3))
        facts = page.locator("#maps-facts").inner_text()
        assert facts.startswith(f"channel {maps.channels[index]} ")
        assert f"{percent(maps.clipped[index])} clipped" in facts
        assert f"{percent(maps.zeros[index])} of the output" in facts
        data = page.evaluate("document.getElementById('maps-plot').data.map((one) => one.z)")
        for panel, (zeros, values) in zip(
            maps.panels(), zip(data[::2], data[1::2], strict=True), strict=True
        ):
            exact = panel.values[..., index]
            for row, column in np.ndindex(6, 8):
                value = float(exact[row, column])
                assert zeros[row][column] == (0 if value == 0 else None)
                assert values[row][column] == (None if value == 0 else rounded(value))


def test_hovering_over_the_large_channel_shows_values(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made()
    page = opened(open_page, tmp_path, maps)
    where = """([panel, row, column]) => {
        const plot = document.getElementById("maps-plot");
        const axes = ["xaxis", "yaxis"].map((name) => plot._fullLayout[name + (panel ? 2 : "")]);
        const bounds = plot.getBoundingClientRect();
        const [x, y] = axes.map((axis, i) => axis._offset + axis.d2p(i ? row : column));
        return [bounds.left + x, bounds.top + y];
    }"""
    for at, panel in enumerate(maps.panels()):
        for row, column in [(0, 0), (1, 2), (5, 7), (3, 4)]:
            page.mouse.move(1, 1)
            page.mouse.move(*page.evaluate(where, [at, row, column]), steps=3)
            found = page.locator(".hoverlayer .hovertext", has_text=f"row {row}, column {column}")
            text = found.first.text_content()
            assert f"channel {maps.channels[0]}" in text
            value = panel.values[row, column, 0]
            shown = text.split(f"column {column}")[1].split("channel")[0]
            assert said(shown) == rounded(value)
            assert page.locator("#maps-mark").is_visible()


def test_colour_scales_can_be_switched(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made()
    page = opened(open_page, tmp_path, maps, scale="channel")
    panel = maps.panels()[0]
    limits = "document.getElementById('maps-plot').data[1].zmax"
    assert page.evaluate(limits) == panel.limits[0]
    page.locator("#maps-scale").select_option("shared")
    assert page.evaluate(limits) == panel.shared_limit
    point = point_of(page, maps, 4, 0, 2, 3)
    colours = paint(panel.values[..., 4], "signed", panel.shared_limit)
    seen = page.evaluate(PIXEL, point)
    assert np.abs(np.subtract(seen, colours[2, 3].astype(int))).max() <= 3


def test_kept_and_clipped_values_are_shown_in_two_maps(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made()
    page = opened(open_page, tmp_path, maps, relu_split=True)
    _, clipped = maps.panels(relu_split=True)
    row, column = np.argwhere(clipped.values[..., 1] < 0)[0]
    page.mouse.move(*point_of(page, maps, 1, 1, row, column))
    value = rounded(clipped.values[row, column, 1])
    lines = page.locator("#maps-tip").inner_text().split("\n")[1:]
    assert lines[0] == "kept by ReLU: 0 (exactly)"
    assert said(lines[1].removeprefix("clipped by ReLU: ")) == value


def test_an_output_alone_is_shown_and_zoomed(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made(stage="post", best="energy", scores=np.array([5.0, 4, 3, 2, 1]))
    page = opened(open_page, tmp_path, maps)
    assert "energy 5.00" in page.locator("#maps-facts").inner_text()
    assert "energy is the mean of" in page.locator("main").inner_text()
    widths = []
    for zoom in (0, 50, 100):
        page.locator("#maps-zoom").fill(str(zoom))
        cells = json.loads(page.locator("#maps-grid").get_attribute("data-cells"))
        widths.append(cells["width"])
        dead = point_of(page, maps, 3, 0, 2, 3)
        assert page.evaluate(PIXEL, dead) == list(rgb(ZERO))
    assert widths[0] < widths[1] < widths[2]


def test_512_channels_are_shown(
    open_page: OpenPage, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    maps = made(noise(28, 28, 512), channels=np.arange(512), n_channels=512)
    page = opened(open_page, tmp_path, maps)
    assert (tmp_path / "maps.html").stat().st_size < MAX_BYTES
    assert page.locator("#maps-channel option").count() == 512
    panel = maps.panels()[0]
    for index, row, column in [(0, 9, 20), (300, 27, 0), (511, 13, 14)]:
        point = point_of(page, maps, index, 0, row, column)
        page.mouse.move(*point)
        text = page.locator("#maps-tip").inner_text()
        assert text.startswith(f"channel {index}, row {row}, column {column}\n")
        value = said(text.split("\n")[1].removeprefix("before ReLU: "))
        assert value == rounded(panel.values[row, column, index])
    # All of them at once, at their smallest size.
    page.locator("#maps-zoom").fill("0")
    seconds = page.evaluate(
        """() => {
            const begun = performance.now();
            const scale = document.getElementById("maps-scale");
            scale.value = "channel";
            scale.dispatchEvent(new Event("change"));
            const box = document.getElementById("maps-box");
            box.style.maxHeight = "none";
            window.dispatchEvent(new Event("resize"));
            box.dispatchEvent(new Event("scroll"));
            return (performance.now() - begun) / 1000;
        }"""
    )
    record_property("seconds to draw 512 channels", seconds)
    drawn(page)
    colours = page.evaluate(
        """() => {
            const grid = document.getElementById("maps-grid");
            const context = grid.getContext("2d");
            const data = context.getImageData(0, 0, grid.width, grid.height).data;
            return new Set(new Uint32Array(data.buffer)).size;
        }"""
    )
    assert colours > 300


@pytest.mark.parametrize(("shape", "n"), [((224, 224), 64), ((28, 28), 512), ((14, 14), 512)])
def test_a_page_of_noise_fits_the_limit(shape: tuple[int, int], n: int) -> None:
    # Noise compresses worst.
    assert len(made(noise(*shape, n)).html()) < MAX_BYTES


def test_too_large_a_page_is_an_error_with_advice() -> None:
    with pytest.raises(InputError, match=r"MB.*at most 15 MB.*--channels top:16"):
        made(noise(224, 224, 128)).html()


def test_shares_near_0_and_1_are_not_rounded_to_0_and_100_percent(
    open_page: OpenPage, tmp_path: Path
) -> None:
    pre = noise(50, 60, 4)
    pre = np.abs(pre) * [1, -1, 1, -1]
    pre[0, 0, 2:] *= -1
    page = opened(open_page, tmp_path, made(pre.astype(np.float32)))
    for share in ("0 %", "100 %", "< 0.1 %", "> 99.9 %"):
        facts = page.locator("#maps-facts").inner_text()
        assert f"\u00b7 {share} clipped by ReLU \u00b7 {share} of the output" in facts
        page.get_by_label("Next channel").click()


def test_no_name_becomes_markup(open_page: OpenPage, tmp_path: Path) -> None:
    page = opened(open_page, tmp_path, made(image=HOSTILE))
    assert page.title() == "Feature maps of block1_conv1"
    assert HOSTILE in page.locator("figcaption").inner_text()
    assert page.get_by_alt_text("as the network saw it").count() == 1


def test_the_page_says_how_to_read_it() -> None:
    both = made().html()
    assert "left to right: before ReLU and after ReLU." in both
    assert "Clipped is" in both
    output = made(stage="post").html()
    assert "Clipped is" not in output
    assert "left to right" not in output
    assert "no ReLU of its own" in made(stage="post", rectified=False).html()


def test_the_keyboard_moves_from_map_to_map(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made(noise(6, 8, 40))
    page = opened(open_page, tmp_path, maps)
    status, box = page.locator("#maps-cursor"), page.locator("#maps-box")
    assert status.inner_text() == ""
    per_row = json.loads(page.locator("#maps-grid").get_attribute("data-cells"))["perRow"]
    assert 1 < per_row < 40
    box.focus()
    index = 0
    for key, expected in [
        ("ArrowLeft", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 1 + per_row),
        ("ArrowUp", 1),
        ("ArrowUp", 1),
        ("End", 39),
        ("ArrowRight", 39),
        ("ArrowDown", 39),
        ("PageUp", None),
        ("Home", 0),
        ("PageDown", None),
        ("Home", 0),
        ("ArrowRight", 1),
        ("ArrowRight", 2),
    ]:
        page.keyboard.press(key)
        said_channel = int(status.inner_text().split()[1].rstrip(","))
        before, index = index, [*maps.channels].index(said_channel)
        if expected is not None:
            assert index == expected, key
        else:
            assert (index < before) == (key == "PageUp")
    assert maps.clipped is not None
    share = percent(maps.clipped[2])
    assert (
        status.inner_text() == f"Channel {maps.channels[2]}, {share} clipped. Enter shows it large."
    )
    page.keyboard.press("Enter")
    assert page.locator("#maps-facts").inner_text().startswith(f"channel {maps.channels[2]} ")
    assert page.evaluate("document.activeElement.id") == "maps-channel"
    assert status.inner_text() == ""


def test_the_cursor_and_the_focus_are_visible(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made()
    page = opened(open_page, tmp_path, maps)
    cells = json.loads(page.locator("#maps-grid").get_attribute("data-cells"))
    rim = point_of(page, maps, 2, 0, 0, 0)
    rim = [rim[0] - cells["width"] / 16 + 2, rim[1] - cells["height"] / 12 + 2]
    before = page.evaluate(PIXEL, rim)
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.id") != "maps-box":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.evaluate("document.getElementById('maps-box').scrollTop = 0")
    drawn(page)
    rim = point_of(page, maps, 2, 0, 0, 0)
    rim = [rim[0] - cells["width"] / 16 + 2, rim[1] - cells["height"] / 12 + 2]
    assert page.evaluate(PIXEL, rim) != before
    outline = "getComputedStyle(document.getElementById('maps-box')).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_values_can_be_copied_as_text(open_page: OpenPage, tmp_path: Path) -> None:
    maps = made()
    page = opened(open_page, tmp_path, maps)
    values = page.locator("#maps-values")

    def check(index: int, row: int, column: int) -> None:
        parts = values.inner_text().split(" \u00b7 ")
        for panel, part in zip(maps.panels(), parts, strict=True):
            title, _, text = part.partition(": ")
            assert title == panel.title
            assert said(text) == rounded(panel.values[row, column, index])

    check(0, 3, 4)  # the middle
    page.get_by_role("spinbutton", name="Row").fill("5")
    page.get_by_role("spinbutton", name="Column").fill("7")
    check(0, 5, 7)
    page.get_by_role("spinbutton", name="Column").fill("99")
    check(0, 5, 7)
    page.mouse.click(*point_of(page, maps, 4, 1, 2, 6))
    check(4, 2, 6)
    assert page.get_by_role("spinbutton", name="Row").input_value() == "2"
    values.evaluate("(element) => getSelection().selectAllChildren(element)")
    assert page.evaluate("getSelection().toString()") == values.inner_text()
    page.get_by_text("The same as a table").click()
    lines = page.locator("table tbody tr").all_inner_texts()
    frame = maps.frame()
    for line, channel, zeros, largest in zip(
        lines, frame["channel"], frame["zeros"], frame["max"], strict=True
    ):
        cells = line.replace("\xa0", " ").split("\t")
        assert cells[:2] == [str(channel), percent(zeros)]
        assert float(cells[-1]) == rounded(largest)


@pytest.mark.parametrize("width", [390, 1100])
def test_text_has_contrast_and_controls_have_names(
    open_page: OpenPage, tmp_path: Path, width: int
) -> None:
    page = opened(open_page, tmp_path, made(), width=width)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        drawn(page)
        assert [(text, ratio) for text, ratio in contrasts(page) if ratio < 4.5] == [], scheme
        # Text that the canvas draws beside the maps has the colour of the page's own text.
        page.locator("#maps-box").scroll_into_view_if_needed()
        seen = page.evaluate(
            """() => {
                const grid = document.getElementById("maps-grid");
                const options = { willReadFrequently: true };
                const copy = new OffscreenCanvas(grid.width, 16).getContext("2d", options);
                copy.drawImage(grid, 0, 0);
                const data = copy.getImageData(0, 0, grid.width, 16).data;
                return Array.from(data.filter((_, i) => i % 4 === 0 && data[i + 3] > 250));
            }"""
        )
        assert (min(seen) > 128) if scheme == "dark" else (max(seen) < 128)
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate(
        """[...document.querySelectorAll("input, select, button")].every(
            (one) => (one.labels && one.labels.length) || one.ariaLabel)"""
    )
    assert page.evaluate("[...document.images].every((image) => image.alt)")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_reduced_motion_disables_animations(
    open_page: OpenPage, tmp_path: Path, motion: str
) -> None:
    page = opened(open_page, tmp_path, made(noise(6, 8, 200)), width=390)
    page.emulate_media(reduced_motion=motion)
    page.locator("#maps-box").focus()
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    first, last = page.evaluate(
        """async () => {
            const enter = new KeyboardEvent("keydown", { key: "Enter" });
            document.getElementById("maps-box").dispatchEvent(enter);
            const first = window.scrollY;
            let last = -1;
            while (last !== window.scrollY) {
                last = window.scrollY;
                await new Promise((done) => setTimeout(done, 300));
            }
            return [first, last];
        }"""
    )
    assert (first == last) == (motion == "reduce")
    moving = page.evaluate(
        """[...document.querySelectorAll("*")].filter((one) =>
            parseFloat(getComputedStyle(one).transitionDuration) > 0).length"""
    )
    assert (moving == 0) or motion != "reduce"
