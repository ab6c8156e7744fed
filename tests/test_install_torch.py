import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("install-torch.sh")

# Stands for the environment's python: torch is there once the file "torch" is.
PYTHON = """#!/bin/sh
echo "$*" >> "$HERE/calls"
case "$*" in
    "-c import torch") test -e "$HERE/torch" ;;
    "-m pip"*--dry-run*) cp "$HERE/report.json" "$7" ;;
    "-m pip"*) touch "$HERE/torch" ;;
    *) exec "$REAL" "$@" ;;
esac
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def run(here: Path, *packages: str) -> subprocess.CompletedProcess[str]:
    if packages:
        report = {"install": [{"metadata": {"name": name}} for name in packages]}
        (here / "report.json").write_text(json.dumps(report))
    environment = {**os.environ, "HERE": str(here), "REAL": sys.executable}
    command = [str(shutil.which("sh")), str(SCRIPT), str(here / "python")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def installed(here: Path) -> bool:
    return (here / "torch").exists()


def test_one_that_is_there_is_left_alone(here: Path) -> None:
    (here / "torch").touch()
    done = run(here, "torch")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (here / "calls").read_text() == "-c import torch\n"


def test_a_build_for_the_processor_is_installed_quietly(here: Path) -> None:
    done = run(here, "a-package-that-nobody-has")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert installed(here)


@pytest.mark.parametrize("package", ["nvidia-cublas", "triton", "cuda-bindings", "numpy"])
def test_cuda_and_changes_of_what_is_locked_are_refused(here: Path, package: str) -> None:
    done = run(here, "a-package-that-nobody-has", package)
    assert done.returncode == 0
    assert not installed(here)
    assert done.stderr.startswith("tests of PyTorch data sets will be skipped")
    assert done.stderr.count("\n") == 1


def test_without_an_index_one_line_says_so(here: Path) -> None:
    done = run(here)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("tests of PyTorch data sets will be skipped")
    assert not installed(here)
