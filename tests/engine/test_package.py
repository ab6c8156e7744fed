import ast
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import sparsefeat
from sparsefeat import errors

ROOT = Path(sparsefeat.__file__).parent
STUBS = sorted(ROOT.rglob("*.pyi"))

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


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_names_in_a_stub_are_those_of_its_module(stub: Path) -> None:
    name = ".".join(stub.parent.relative_to(ROOT.parent).parts)
    package = importlib.import_module(name)
    tree = ast.parse(stub.read_text())
    found = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.module or "").startswith("sparsefeat.")
            where = f"{name}.{node.module}" if node.level else str(node.module)
            for alias in node.names:
                value = getattr(importlib.import_module(where), alias.name)
                assert getattr(package, alias.asname or alias.name) is value
                found.append(alias.asname or alias.name)
    assert found
    assert set(package.__all__) >= set(found)
    assert set(dir(package)) >= set(found)


def test_main_functions_and_classes_are_public() -> None:
    names = ("Extractor", "Store", "LayerView", "open", "extract", "export", "quantize", "compact")
    more = ("merge", "remove", "vacuum", "convert", "verify", "history", "info", "ExtractionResult")
    for name in (*names, *more):
        assert name in sparsefeat.__all__
        assert callable(getattr(sparsefeat, name))
    assert sparsefeat.__version__ == importlib.metadata.version("sparsefeat")


def test_every_error_is_public_and_in_the_tree_of_errors() -> None:
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
def test_importing_and_help_load_no_large_library(code: str) -> None:
    assert not loaded_by(code).intersection(HEAVY)


def test_the_log_prints_nothing_by_itself() -> None:
    code = "import logging, sparsefeat; logging.getLogger('sparsefeat.runtime').warning('compiled')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_extracting_and_reading_load_no_tensorflow(small_vgg16: Path, tmp_path: Path) -> None:
    code = (
        "import sparsefeat, numpy as np\n"
        "from sparsefeat.images import list_images\n"
        f"extractor = sparsefeat.Extractor({str(small_vgg16)!r}, size=(32, 32))\n"
        f"image = {str(tmp_path / 'grey.png')!r}\n"
        "from PIL import Image; Image.new('L', (9, 9)).save(image)\n"
        "sparsefeat.extract(list_images([image]), "
        f"{str(tmp_path / 'features')!r}, model=extractor)\n"
        f"sparsefeat.open({str(tmp_path / 'features')!r})['block5_pool']\n"
    )
    loaded = loaded_by(code)
    assert "onnxruntime" in loaded
    assert not loaded.intersection({"tensorflow", "keras", "tf2onnx", "anndata", "torch", "rich"})
