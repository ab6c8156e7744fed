import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from skimage import data

from sparsefeat.system.text import counted

from ..command import run

# The command, with a line on standard error for every turn.
TALKATIVE = """
from sparsefeat.cli import main, progress
progress.LOG_FIRST_SECONDS = progress.LOG_EVERY_SECONDS = 0
main()
"""


def words(model: Path, *options: str) -> list[str]:
    # Keras can't compute this layer, so it isn't started to compare outputs.
    layers = ["--layers", "block5_conv3/pre"]
    common = ["-m", str(model), "--size", "64x64", "--engines", "onnxruntime-cpu", *layers]
    return ["bench", *common, *options]


def bench(model: Path, folder: Path, line: str, *, exit_code: int = 0) -> Result:
    done = run(folder, *words(model, *line.split()))
    assert done.exit_code == exit_code, done.stderr
    return done


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An image as two JPEG files and a PNG file, and a file that is not an image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.jpg", "c.jpg", "d.png"):
        Image.fromarray(data.coffee()).resize((60, 40)).save(folder / name)
    (folder / "a.jpg").write_text("no image")
    return folder


def test_table_json_and_page_are_written(
    small_vgg16: Path, photos: Path, open_page: Callable[..., Any]
) -> None:
    folder = photos.parent
    line = "photos/b.jpg --batch-sizes 1,2 --rounds 2 --threads 1 --json b.json --html b.html"
    done = bench(small_vgg16, folder, line)
    heading, columns, *rows = done.stdout.splitlines()
    assert heading.startswith("vgg16.onnx, block5_conv3/pre, images of 64x64, 1 thread")
    assert columns.split()[:3] == ["engine", "batch", "images/s"]
    assert [row.split()[:2] for row in rows] == [["onnxruntime-cpu", "1"], ["onnxruntime-cpu", "2"]]
    document = json.loads((folder / "b.json").read_text())
    assert document["settings"]["image_paths"] == ["photos/b.jpg"]
    assert document["settings"]["rounds"] == 2
    page = open_page(folder / "b.html")
    assert page.locator(".barlayer .point").count() == 2


def test_one_round_gives_valid_json(small_vgg16: Path, tmp_path: Path) -> None:
    engines = "--engines onnxruntime-cpu,sparsefeat"
    line = f"{engines} --rounds 1 --batch-sizes 1 --threads 1 --json b.json"
    assert "1 round, too few to tell" in bench(small_vgg16, tmp_path, line).stdout

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads((tmp_path / "b.json").read_text(), parse_constant=refuse)
    verdicts = {row["engine"]: row["verdict"] for row in document["rows"]}
    assert verdicts == {"onnxruntime-cpu": "baseline", "sparsefeat": "too few rounds"}


@pytest.mark.filterwarnings("always::sparsefeat.RejectWarning")
@pytest.mark.parametrize(
    ("option", "used"), [("", ["b.jpg", "c.jpg", "d.png"]), ("--from-files", ["b.jpg", "c.jpg"])]
)
def test_images_that_could_not_be_read_give_exit_code_1(
    small_vgg16: Path, photos: Path, option: str, used: list[str]
) -> None:
    folder = photos.parent
    line = f"photos --batch-sizes 4 --rounds 1 --threads 1 --json b.json --html b.html {option}"
    for failed in (0, 1):  # as with extract, a damaged image doesn't change the exit code
        if failed:
            (photos / "0.jpg").symlink_to("gone.jpg")
        done = bench(small_vgg16, folder, line, exit_code=failed)
        assert f"{counted(1 + failed, 'image')} could not be read" in done.stderr
        where = "within each turn" if option else "in each batch"
        assert f"Only {len(used)} images could be used: images repeat {where}." in done.stderr
        document = json.loads((folder / "b.json").read_text())
        assert document["settings"]["image_paths"] == used
        assert document["settings"]["images_failed"] == failed
    page = (folder / "b.html").read_text()
    assert ("images of 64x64 from JPEG files" in done.stdout) == bool(option)
    assert ("Each run went from JPEG files" in page) == bool(option)
    assert document["measurements"][0]["images"] == (16 if option else 4)


def test_an_interrupted_benchmark_prints_its_results(small_vgg16: Path, tmp_path: Path) -> None:
    """The terminal sends Ctrl-C to all of its processes."""
    line = "--rounds 100000 --json b.json"
    with subprocess.Popen(
        [sys.executable, "-c", TALKATIVE, "-v", *words(small_vgg16, *line.split())],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("3 of "):
                break
        os.killpg(process.pid, signal.SIGINT)
        output, said = process.communicate()
    assert process.returncode == 130
    assert "too few rounds" not in output  # one engine: nothing is compared
    assert output.splitlines()[2].startswith("onnxruntime-cpu")
    assert "stopping after the current turn" in said
    assert "stopped early" in said
    assert json.loads((tmp_path / "b.json").read_text())["stopped"] is True
