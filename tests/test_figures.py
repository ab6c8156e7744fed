"""Figures and numbers of docs/zeros.md and README are those that docs/figures/make.py makes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparsefeat.cli.demo import copy_photographs

DOCS = Path(__file__).parents[1] / "docs"
FIGURES = DOCS / "figures"
README = (DOCS.parent / "README.md").read_text()
PAGE = (DOCS / "zeros.md").read_text()


@pytest.fixture(scope="module")
def made(vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    copy_photographs(folder / "photos")
    options = ["--model", vgg16, "--images", folder / "photos", "--output", folder / "made"]
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


def test_measuring_again_gives_the_committed_numbers(made: Path) -> None:
    assert_close(facts(made), facts(FIGURES))


def test_all_figures_are_committed_small_and_used(made: Path) -> None:
    drawn = sorted(path.name for path in made.iterdir() if path.suffix in (".svg", ".png"))
    kept = sorted(path.name for path in FIGURES.iterdir() if path.suffix in (".svg", ".png"))
    used = re.findall(r"\]\((?:docs/)?figures/(.+?)\)", PAGE + README)
    assert drawn == kept == sorted(used)
    assert all((FIGURES / name).stat().st_size < 60_000 for name in kept)


def test_the_page_gives_the_measured_numbers() -> None:
    measured = facts(FIGURES)
    table = re.findall(r"(block\d_\w+) \| ([\d.]+) %", PAGE)
    assert len(table) == 18
    for name, share in table:
        assert share == f"{100 * measured['layers'][name]['zeros']:.1f}", name
    changes = {
        name: abs(share - measured["layers"][name]["zeros"])
        for name, share in measured["without_bias"].items()
    }
    assert round(100 * changes.pop("block1_conv1"), 1) == 0.8
    assert max(changes.values()) < 0.002
    last = measured["layers"]["block5_pool"]
    assert last["dead"] == 0
    assert f"and {last['always_on']} of them" in PAGE
    assert f"{100 * min(last['by_image']):.1f} % (`chelsea.png`)" in PAGE
    assert f"{100 * max(last['by_image']):.1f} % (`china.jpg`)" in PAGE
    independent = measured["layers"]["block5_conv3"]["zeros"] ** 4
    assert f"{100 * independent:.0f} %" in PAGE


def test_from_block_2_on_the_last_convolution_has_most_zeros() -> None:
    layers = facts(FIGURES)["layers"]
    convolutions = [
        [name for name in layers if name.startswith(f"block{block}_conv")] for block in range(1, 6)
    ]
    rises = [layers[last]["zeros"] - layers[before]["zeros"] for *_, before, last in convolutions]
    assert rises[0] < 0 < 0.1 < min(rises[1:])
    assert "From block 2 on, the last convolution of each block has far more zeros" in PAGE
    assert "Block 1 is the exception" in PAGE


def test_correlations_with_flatness_are_those_that_the_page_claims() -> None:
    layers = facts(FIGURES)["layers"]
    assert len(layers) == 18

    def written(name: str) -> str:
        value, low, high = layers[name]["pearson"]
        return f"{value:.2f} ({low:.2f} to {high:.2f})".replace("-0.00", "0.00")

    def interval(name: str) -> tuple[float, float]:
        _, low, high = layers[name]["pearson"]
        return low, high

    for block in range(1, 6):
        pool, first = f"block{block}_pool", f"block{block}_conv1"
        assert f"| {block} | {written(first)} | {written(pool)} |" in PAGE
    pools = [interval(f"block{block}_pool") for block in range(1, 6)]
    assert [low > 0 for low, _ in pools] == [False, True, True, True, False]
    assert not any(high < 0 for _, high in pools)
    firsts = [interval(f"block{block}_conv1") for block in range(1, 6)]
    assert [high < -0.3 for _, high in firsts] == [True, False, True, False, False]
    assert abs(firsts[1][1]) < 0.005, "block 2's ends at 0"
    assert -0.1 < firsts[3][1] < 0, "block 4's barely leaves it out"
    assert firsts[4][0] < 0 < firsts[4][1]
    assert not any(low > 0 for low, _ in firsts)


def test_wrong_scalings_and_plain_images_have_the_zeros_that_the_page_gives() -> None:
    measured = facts(FIGURES)
    rows = []
    for name, found in measured["scaling"].items():
        shares = [found["zeros"][f"block{block}_pool"] for block in (1, 3, 5)]
        error = found["relative_error"]["block5_pool"]
        cells = [*(f"{100 * share:.1f} %" for share in shares)]
        cells.append("0 %" if error == 0 else f"{100 * error:.1f} %")
        rows.append(f"| {' | '.join([name, *cells])} | {found['noticed_as']}".rstrip() + " |")
    table = PAGE[PAGE.index("| as expected") :].split("\n\n")[0].splitlines()
    assert [" ".join(row.split()) for row in table] == rows
    assert measured["dead_over_one"] == {"coffee.png": 111}
    assert "`coffee.png`, 111 are" in PAGE
    plain = {name: 100 * shares["block5_pool"] for name, shares in measured["plain"].items()}
    assert f"noise, {plain.pop('noise'):.0f} %" in PAGE
    assert f"leave {min(plain.values()):.0f} to {max(plain.values()):.0f} %" in PAGE
