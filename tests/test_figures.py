"""The figures and numbers of docs/zeros.md are those that its script makes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.demo import copy_photographs

DOCS = Path(__file__).parents[1] / "docs"
FIGURES = DOCS / "figures"
PAGE = (DOCS / "zeros.md").read_text()


@pytest.fixture(scope="module")
def made(vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    copy_photographs(folder / "photos")
    options = ["--model", vgg16, "--photos", folder / "photos", "--output", folder / "made"]
    subprocess.run(
        [sys.executable, FIGURES / "make.py", *map(str, options)], check=True, capture_output=True
    )
    return folder / "made"


def facts(folder: Path) -> Any:
    return json.loads((folder / "zeros.json").read_text())


def assert_close(got: Any, expected: Any) -> None:
    """Compare nested figures; another processor may round a few elements the other way."""
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        for key, value in expected.items():
            assert_close(got[key], value)
    elif isinstance(expected, list):
        for ours, theirs in zip(got, expected, strict=True):
            assert_close(ours, theirs)
    elif isinstance(expected, float):
        assert got == pytest.approx(expected, abs=5e-4)
    else:
        assert got == expected


def test_what_was_measured_can_be_measured_again(made: Path) -> None:
    assert_close(facts(made), facts(FIGURES))


def test_figures_are_there_small_and_used(made: Path) -> None:
    drawn = sorted(path.name for path in made.iterdir() if path.suffix in (".svg", ".png"))
    kept = sorted(path.name for path in FIGURES.iterdir() if path.suffix in (".svg", ".png"))
    assert drawn == kept == sorted(re.findall(r"\]\(figures/(.+?)\)", PAGE))
    assert all((FIGURES / name).stat().st_size < 60_000 for name in kept)


def test_the_page_says_what_was_measured() -> None:
    measured = facts(FIGURES)
    table = re.findall(r"(block\d_\w+) \| ([\d.]+) %", PAGE)
    assert len(table) == 18
    for name, share in table:
        assert share == f"{100 * measured['layers'][name]['zeros']:.1f}", name
    for name in ("block2_pool", "block4_pool", "block1_conv1", "block3_conv1"):
        value, low, high = measured["layers"][name]["pearson"]
        assert f"{value:.2f} in `{name}`" in PAGE
        assert f"{low:.2f} to {high:.2f}" in PAGE
    changes = {
        name: abs(share - measured["layers"][name]["zeros"])
        for name, share in measured["without_bias"].items()
    }
    assert round(100 * changes.pop("block1_conv1"), 1) == 0.8
    assert max(changes.values()) < 0.002
    last = measured["layers"]["block5_pool"]
    assert last["dead"] == 0
    assert f"and {last['always_on']} of them" in PAGE
    assert f"{100 * min(last['by_picture']):.1f} % (`chelsea.png`)" in PAGE
    assert f"{100 * max(last['by_picture']):.1f} % (`china.jpg`)" in PAGE
    independent = measured["layers"]["block5_conv3"]["zeros"] ** 4
    assert f"{100 * independent:.0f} %" in PAGE
