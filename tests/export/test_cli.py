"""`sparsefeat export` as a user types it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

from sparsefeat_export.metadata import read_metadata

COMMAND = [sys.executable, "-c", "from sparsefeat.cli import main; main()", "export"]


def save_photographs(folder: Path) -> None:
    folder.mkdir()
    pictures = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.rocket()]
    pictures += load_sample_images().images
    for index, pixels in enumerate(pictures):
        picture = Image.fromarray(pixels)
        picture.save(folder / f"{index}.png")
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{index}-flipped.jpg")


def test_exporting_an_export_again_on_other_photographs(vgg16: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    save_photographs(photos)
    output = tmp_path / "new" / "again.onnx"
    done = subprocess.run(
        [*COMMAND, "-o", output, "--weights", vgg16, "--photos", photos, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["weights"]["sha256"] == read_metadata(vgg16)["weights"]["sha256"]
    assert printed["certificate"] == read_metadata(output)["certificate"]
    names = [one["name"] for one in printed["certificate"]["photographs"]]
    assert names == sorted(path.name for path in photos.iterdir())
    assert printed["files"] == {
        str(path): path.stat().st_size for path in (output, tmp_path / "new" / "again.onnx.data")
    }
    lines = done.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["converting", "certifying"]


def test_errors_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "-o", tmp_path / "model.onnx", "--weights", "resnet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: weights 'resnet': expected imagenet, pretrained")
    assert list(tmp_path.iterdir()) == []


def test_interrupting_leaves_nothing_behind(tmp_path: Path) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [*COMMAND, "-o", tmp_path / "model.onnx", "--weights", "random:0"],
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".model.onnx-*/convert.log")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signum)
        assert process.wait(timeout=30) == 128 + signum
        assert list(tmp_path.iterdir()) == []


def test_help_shows_examples() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "sparsefeat export -o vgg16.onnx --weights pretrained" in done.stdout
    for option in ("--weights", "--no-top", "--photos", "--json"):
        assert option in done.stdout
