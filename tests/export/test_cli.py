"""`sparsefeat export` on the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_images

from sparsefeat_export.model_file import read_metadata

COMMAND = [sys.executable, "-c", "from sparsefeat.cli import main; main()", "export"]


def save_photographs(folder: Path) -> None:
    folder.mkdir()
    images = [skimage.data.astronaut(), skimage.data.coffee(), *load_sample_images().images]
    for index, pixels in enumerate(images):
        image = Image.fromarray(pixels)
        image.save(folder / f"{index}.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"{index}-flipped.jpg")


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """An environment in which Keras has an empty cache and can reach no host."""
    proxy = "http://127.0.0.1:9"  # the discard port, on which no program listens
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
    return os.environ | proxies | {"KERAS_HOME": str(tmp_path / "keras"), "no_proxy": ""}


def test_without_a_download_the_default_is_pretrained(
    vgg16: Path, offline: dict[str, str], tmp_path: Path
) -> None:
    """The wheel is in the cache, because exporting `vgg16` has fetched it."""
    photos = tmp_path / "photos"
    save_photographs(photos)
    output = tmp_path / "new" / "model.onnx"
    done = subprocess.run(
        [*COMMAND, "-o", output, "--images", photos, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=offline,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["weights"] == read_metadata(vgg16)["weights"]
    assert printed["weights"]["source"] == "pretrained"
    assert printed["preprocessing"] == read_metadata(vgg16)["preprocessing"]
    assert printed["certificate"] == read_metadata(output)["certificate"]
    names = [one["name"] for one in printed["certificate"]["images"]]
    assert names == sorted(path.name for path in photos.iterdir())
    assert printed["files"] == {
        str(path): path.stat().st_size for path in (output, tmp_path / "new" / "model.onnx.data")
    }
    lines = done.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["converting", "using", "certifying"]
    assert "weights imagenet" in lines[0]
    assert "using the pretrained weights instead of imagenet: Keras could not download" in lines[1]


def test_weights_that_only_the_download_has_are_an_error(
    offline: dict[str, str], tmp_path: Path
) -> None:
    """Runs two at the same time: each loads TensorFlow for seconds on one thread."""
    exports = [
        subprocess.Popen(
            [*COMMAND, "-o", tmp_path / name / "model.onnx", *options],
            stderr=subprocess.PIPE,
            text=True,
            env=offline,
        )
        for name, options in (("weights", ["--weights", "imagenet"]), ("top", ["--top"]))
    ]
    for process in exports:
        _, said = process.communicate()
        assert process.returncode == 2
        begun, line = said.splitlines()
        assert begun.startswith("converting")
        assert line.startswith("Error: Keras could not download its ImageNet weights (")
        assert "--weights FILE" in line
    assert not {path.name for path in tmp_path.iterdir()} & {"weights", "top"}


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


def start(output: Path) -> subprocess.Popen[bytes]:
    """Begin an export and wait until its child process works."""
    process = subprocess.Popen(
        [*COMMAND, "-o", output, "--weights", "random:0"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(output.parent.glob(f".{output.name}-*/convert.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_no_files(tmp_path: Path, signum: signal.Signals) -> None:
    with start(tmp_path / "model.onnx") as process:
        process.send_signal(signum)
        assert process.wait(timeout=30) == 128 + signum
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_no_child_process(tmp_path: Path) -> None:
    with start(tmp_path / "model.onnx") as process:
        deadline = time.monotonic() + 60
        while not (children := psutil.Process(process.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=8)  # its work would take longer
    assert [child for child in alive if not ended(child)] == []


def ended(process: psutil.Process) -> bool:
    """Tell whether a process has ended, even if its exit status has not been read yet."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_help_shows_examples() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "sparsefeat export -o vgg16.onnx --weights pretrained" in done.stdout
    for option in ("--weights", "--no-top", "--scaling", "--images", "--json"):
        assert option in done.stdout
