"""Files made by Keras, once per run."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sparsefeat_export
from sparsefeat_export.sources.pretrained import wheel_path


@pytest.fixture(scope="session")
def keras_files(vgg16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `keras_models.py` writes; `vgg16` has fetched the wheel it reads."""
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
    """Exports one of the narrow Keras files, by its name, once."""
    exported: dict[str, Path] = {}

    def export(name: str) -> Path:
        if name not in exported:
            path = tmp_path_factory.mktemp("narrow") / "model.onnx"
            sparsefeat_export.export(path, weights=keras_files / name, channels_divisor=16)
            exported[name] = path
        return exported[name]

    return export
