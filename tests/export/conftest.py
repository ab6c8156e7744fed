"""Files that Keras makes once per test run."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sparsefeat_export
from sparsefeat_export.sources.fetching import wheel_path

NARROW = ("finetuned.keras", "other_top.keras", "convolutional_top.keras")


@pytest.fixture(scope="session")
def keras_files(vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `keras_models.py` fills; `vgg16` has fetched the wheel that it reads."""
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).with_name("keras_models.py")
    done = subprocess.run(
        [sys.executable, script, folder, wheel_path()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def narrow_export(
    keras_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a function that gives the export of a narrow Keras file by its name.

    All are exported at once: they take seconds on one thread each.
    """

    folders = [tmp_path_factory.mktemp(name) for name in NARROW]

    def export(name: str, folder: Path) -> Path:
        weights = keras_files / name
        return sparsefeat_export.export(
            folder / "model.onnx", weights=weights, scaling="caffe", channels_divisor=16
        ).path

    with ThreadPoolExecutor(2) as pool:
        exported = dict(zip(NARROW, pool.map(export, NARROW, folders), strict=True))
    return exported.__getitem__
