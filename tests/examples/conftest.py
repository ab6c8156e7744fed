"""A folder as `make demo` makes it, with the tests' own model, and a way to run scripts in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sparsefeat
from sparsefeat.cli.demo import copy_photographs

EXAMPLES = Path(__file__).parents[2] / "examples"

RunScript = Callable[..., str]


@pytest.fixture(scope="session")
def furnished(vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `demo/` in it."""
    folder = tmp_path_factory.mktemp("furnished")
    demo = folder / "demo"
    demo.mkdir()
    for name in (vgg16.name, f"{vgg16.name}.data"):
        shutil.copyfile(vgg16.with_name(name), demo / name)  # onnx refuses links to weights
    copy_photographs(demo / "photos")
    sparsefeat.extract(
        demo / "photos", demo / "features", model=demo / "vgg16.onnx", layers="pools"
    )
    return folder


@pytest.fixture(scope="session")
def run_script(furnished: Path) -> RunScript:
    """Run a script of examples/ beside `demo/`; return what it prints."""

    def run(script: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, EXAMPLES / script, *arguments],
            cwd=furnished,
            env={**os.environ, "PYTHONWARNINGS": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        return done.stdout

    return run
