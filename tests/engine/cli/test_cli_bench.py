import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from skimage import data

from sparsefeat.system.text import counted

# The command, with a line on standard error for every turn.
TALKATIVE = """
from sparsefeat.cli import main, progress
progress.LOG_FIRST_SECONDS = progress.LOG_EVERY_SECONDS = 0
main()
"""


def command(model: Path, *words: str, start: tuple[str, str] = ("-m", "sparsefeat")) -> list[str]:
    # Keras can't compute this layer, so it isn't started to compare outputs.
    layers = ["--layers", "block5_conv3/pre"]
    common = ["-m", str(model), "--size", "64x64", "--engines", "onnxruntime-cpu", *layers]
    return [sys.executable, *start, "-v", "bench", *common, *words]


def run(model: Path, folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(model, *words.split()), cwd=folder, capture_output=True, text=True, check=True
    )


def test_table_json_and_page_are_written(
    small_vgg16: Path, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(data.coffee()).save(tmp_path / "photos/coffee.jpg")
    words = "photos --batch-sizes 1,2 --rounds 2 --threads 1 --json b.json --html b.html"
    done = run(small_vgg16, tmp_path, words)
    heading, columns, *rows = done.stdout.splitlines()
    assert heading.startswith("vgg16.onnx, block5_conv3/pre, images of 64x64, 1 thread")
    assert columns.split()[:3] == ["engine", "batch", "images/s"]
    assert [row.split()[:2] for row in rows] == [["onnxruntime-cpu", "1"], ["onnxruntime-cpu", "2"]]
    document = json.loads((tmp_path / "b.json").read_text())
    assert document["settings"]["image_paths"] == ["coffee.jpg"]
    assert document["settings"]["rounds"] == 2
    page = open_page(tmp_path / "b.html")
    assert page.locator(".barlayer .point").count() == 2


def test_one_round_gives_valid_json(small_vgg16: Path, tmp_path: Path) -> None:
    words = "--rounds 1 --batch-sizes 1 --threads 1 --json b.json"
    engines = "--layers block5_pool --engines onnxruntime-cpu,keras-predict"
    done = run(small_vgg16, tmp_path, f"{words} {engines}")
    assert "1 round, too few to tell" in done.stdout

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads((tmp_path / "b.json").read_text(), parse_constant=refuse)
    assert [row["verdict"] for row in document["rows"]] == ["baseline", "too few rounds"]


def test_from_files_times_jpeg_files(small_vgg16: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.png"):
        Image.fromarray(data.coffee()).save(tmp_path / "photos" / name)
    words = "photos --from-files --batch-sizes 2 --rounds 1 --json b.json --html b.html"
    done = run(small_vgg16, tmp_path, words)
    assert "images of 64x64 from JPEG files" in done.stdout
    assert "Only 2 images could be used: images repeat within each turn." in done.stderr
    document = json.loads((tmp_path / "b.json").read_text())
    assert document["settings"]["image_paths"] == ["a.jpg", "b.jpg"]
    assert document["measurements"][0]["images"] == 16
    assert "Each run went from JPEG files" in (tmp_path / "b.html").read_text()


@pytest.mark.parametrize("words", ["", "--from-files"])
def test_images_that_could_not_be_read_give_exit_code_1(
    small_vgg16: Path, tmp_path: Path, words: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(data.coffee()).save(photos / "b.jpg")
    (photos / "a.jpg").write_text("no image")
    common = f"photos --batch-sizes 2 --rounds 1 --threads 1 --json b.json {words}"
    for failed in (0, 1):  # as with extract, a damaged image doesn't change the exit code
        if failed:
            (photos / "0.jpg").symlink_to("gone.jpg")
        done = subprocess.run(
            command(small_vgg16, *common.split()),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == failed, done.stderr
        assert f"{counted(1 + failed, 'image')} could not be read" in done.stderr
        settings = json.loads((tmp_path / "b.json").read_text())["settings"]
        assert settings["image_paths"] == ["b.jpg"]
        assert settings["images_failed"] == failed


def test_an_interrupted_benchmark_prints_its_results(small_vgg16: Path, tmp_path: Path) -> None:
    """The terminal sends Ctrl-C to all of its processes."""
    with subprocess.Popen(
        command(small_vgg16, "--rounds", "100000", "--json", "b.json", start=("-c", TALKATIVE)),
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
