import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sparsefeat
from sparsefeat import errors

STUB = Path(sparsefeat.__file__).with_suffix(".pyi")

HEAVY = (
    "tensorflow",
    "keras",
    "onnx",
    "onnxruntime",
    "zarr",
    "anndata",
    "dask",
    "torch",
    "pandas",
    "scipy",
    "numba",
    "PIL",
    "rich",
    "plotly",
    "jinja2",
)


def loaded_by(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_table_of_contents_is_complete() -> None:
    imported = {
        alias.name
        for node in ast.walk(ast.parse(STUB.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(sparsefeat.__all__) == imported
    for name in imported:
        assert getattr(sparsefeat, name) is not None
    declared = ast.literal_eval(STUB.read_text().split("__all__ = ")[1])
    assert sorted(declared) == sorted(imported)


def test_every_error_is_public_and_drawn() -> None:
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, Exception):
            assert issubclass(error, errors.SparsefeatError)
            assert name in sparsefeat.__all__
            assert name in str(errors.__doc__)


@pytest.mark.parametrize(
    "code",
    [
        "import sparsefeat",
        "from sparsefeat.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from sparsefeat.cli import main\ntry: main(['info', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_what_must_be_quick_loads_nothing_heavy(code: str) -> None:
    assert not loaded_by(code).intersection(HEAVY)


def test_extracting_and_reading_load_no_tensorflow(small_vgg16: Path, tmp_path: Path) -> None:
    code = (
        "import sparsefeat, numpy as np\n"
        "from sparsefeat.images import list_pictures\n"
        f"extractor = sparsefeat.Extractor({str(small_vgg16)!r}, size=(32, 32))\n"
        f"picture = {str(tmp_path / 'grey.png')!r}\n"
        "from PIL import Image; Image.new('L', (9, 9)).save(picture)\n"
        "sparsefeat.extract(list_pictures([picture]), "
        f"{str(tmp_path / 'features')!r}, model=extractor)\n"
        f"sparsefeat.open({str(tmp_path / 'features')!r})['block5_pool']\n"
    )
    loaded = loaded_by(code)
    assert "onnxruntime" in loaded
    assert not loaded.intersection({"tensorflow", "keras", "tf2onnx", "anndata", "torch", "rich"})
