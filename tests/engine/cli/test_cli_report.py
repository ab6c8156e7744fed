import json
from pathlib import Path

import pytest

from sparsefeat import build_report

from ..command import assert_one_line, run
from ..store.data import make_batch, make_reject, write_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "features", [make_batch(range(12), rejects=[make_reject(0)])])
    return tmp_path


def test_report_writes_a_page_and_prints_the_main_results(folder: Path) -> None:
    done = run(folder, "report", "features", "-o", "page.html")
    assert done.exit_code == 0, done.stderr
    heading, first, *_, last = done.stdout.splitlines()
    assert heading.startswith("12 images, 3 layers, ")
    share = build_report(folder / "features").zeros["block5_conv3/pre"].sparsity
    assert share is not None
    assert "of block5_pool is zero: " in first
    assert last == "1 file could not be read as an image."
    size = (folder / "page.html").stat().st_size / 1e6
    assert done.stderr == f"page.html: written, {size:.3g} MB\n"


def test_json_can_be_printed_without_a_page(folder: Path) -> None:
    done = run(folder, "report", "features", "--json", "--layers", "block5_pool,fc")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    found = build_report(folder / "features", layers="block5_pool,fc")
    assert document == json.loads(json.dumps(found.to_json())) | {"store": "features"}
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("features", "--layers", "block6_pool"), "the store has no layer 'block6_pool'"),
        (("photos",), "expected a store"),
        (("features", "-o", "features/snapshots/00000001.json/a.html"), "can't write"),
        (("photos", "-o", "page.pdf"), "ends in .html"),
        (("features", "-o", "page"), "ends in .html"),
        (("features", "-o", ""), "empty name"),
        (("features", "-o", "-", "--json"), "--json and -o - both print"),
        (("features", "--seed", "-1"), "-1 is not in the range x>=0"),
        (("features", "--images", "nowhere"), "'nowhere'"),
    ],
)
def test_errors_are_one_line(folder: Path, words: tuple[str, ...], said: str) -> None:
    done = run(folder, "report", *words)
    assert_one_line(done)
    assert said in done.stderr


def test_the_demo_ends_with_the_report(small_vgg16: Path, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    demo.mkdir()
    for name in (small_vgg16.name, f"{small_vgg16.name}.data"):
        (demo / name).symlink_to(small_vgg16.with_name(name))
    done = run(tmp_path, "demo")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("demo/report.html")
    page = (demo / "report.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == 6
    assert f"{tmp_path}/" not in page
