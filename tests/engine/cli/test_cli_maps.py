import json
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from skimage import data

import sparsefeat
from sparsefeat.pipeline.extractor import Extractor
from sparsefeat.system.text import percent

from .. import command


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    Image.fromarray(data.chelsea()).save(tmp_path / "cat.jpg")
    return tmp_path / "cat.jpg"


def run(folder: Path, *words: str) -> Result:
    return command.run(folder, "maps", *words)


def test_maps_prints_a_line_for_each_channel(small_vgg16: Path, cat: Path) -> None:
    line = ("cat.jpg", "-m", str(small_vgg16), "--size", "64x64", "--layer", "block3_conv1")
    done = run(cat.parent, *line, "--channels", "top:3", "--best", "contrast")
    assert done.exit_code == 0, done.stderr
    head, columns, *rows = done.stdout.splitlines()
    assert head == "block3_conv1, cat.jpg"
    assert " ".join(columns.split()) == "channel zeros clipped pre_min pre_mean mean max contrast"
    maps = sparsefeat.maps(
        Extractor(small_vgg16, size=(64, 64)),
        cat,
        "block3_conv1",
        channels="top:3",
        best="contrast",
    )
    assert [int(row.split()[0]) for row in rows] == maps.channels.tolist()
    assert percent(maps.zeros[0]) in rows[0]
    facts = json.loads(run(cat.parent, *line, "--channels", "2", "--json").stdout)
    assert facts["channels"][0]["channel"] == 2
    assert facts["shape"] == [16, 16, 16]


def test_maps_writes_a_page_and_an_image(small_vgg16: Path, cat: Path) -> None:
    line = ("cat.jpg", "-m", str(small_vgg16), "--size", "64x64", "--layer", "block2_pool")
    for name in ("maps.html", "maps.png"):
        done = run(cat.parent, *line, "--scale", "channel", "-o", name)
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == f"{name}: written\n"
        assert (cat.parent / name).stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--layer", "block2_pool", "--stage", "pre"], "no ReLU"),
        (["--layer", "block2_pool", "-o", "maps.svg"], ".html or .png"),
        (["--layer", "block2_conv1", "--channels", "99"], "0 to 7"),
        (["--layer", "block2_conv1", "--relu-split"], "add -o"),
        (["--layer", "block2_conv1", "--scale", "channel"], "add -o"),
        (["--layer", "block2_pool", "--relu-split", "-o", "a.png"], "has no ReLU"),
        (["--layer", "none", "-o", "cat.jpg/a.html"], "can't write 'cat.jpg/a.html'"),
        (["--layer", "none", "-o", ""], "empty name"),
        (["--layer", "none", "-o", "-", "--json"], "both print"),
        (["--layer", "block2_conv1", "--precision", "int8"], "int8"),
        (["--layer", "fc1"], "without its top"),
        (["--layer", "block2_conv1", "--best", "selectivity"], "reference"),
        (["--layer", "block2_conv1", "--stage", "post", "--relu-split", "-o", "a.png"], "stage"),
    ],
)
def test_errors_are_one_line(small_vgg16: Path, cat: Path, words: list[str], says: str) -> None:
    done = run(cat.parent, "cat.jpg", "-m", str(small_vgg16), *words)
    command.assert_one_line(done)
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
