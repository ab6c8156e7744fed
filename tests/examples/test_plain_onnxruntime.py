"""The exported model gives the same features in ONNX Runtime without sparsefeat."""

import ast
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sparsefeat

from .conftest import EXAMPLES, RunScript

SCRIPT = EXAMPLES / "plain_onnxruntime.py"


@pytest.fixture(scope="module")
def extractor(furnished: Path) -> sparsefeat.Extractor:
    """Uses ONNX Runtime's convolutions, as the script does."""
    return sparsefeat.Extractor(
        furnished / "demo/vgg16.onnx", "block2_pool,block5_pool", convolution="direct"
    )


@pytest.mark.parametrize(
    ("image", "layer"), [("chelsea.png", "block5_pool"), ("china.jpg", "block2_pool")]
)
def test_features_equal_those_of_sparsefeat_bit_for_bit(
    image: str,
    layer: str,
    extractor: sparsefeat.Extractor,
    furnished: Path,
    run_script: RunScript,
    tmp_path: Path,
) -> None:
    path = furnished / "demo/photos" / image
    printed = run_script(SCRIPT.name, "demo/vgg16.onnx", path, layer, "-o", tmp_path / "got.npy")
    (batch,) = extractor.extract([path])
    expected = batch.layers[layer].to_scipy().toarray()

    got = np.load(tmp_path / "got.npy")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got.reshape(1, -1), expected)
    assert f"{np.mean(expected == 0):.1%} zeros" in printed


def test_the_script_does_not_import_sparsefeat() -> None:
    tree = ast.parse(SCRIPT.read_text())
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    } | {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert imported == {"argparse", "json", "pathlib", "typing", "numpy", "onnxruntime", "PIL"}


def test_nearest_chooses_the_same_pixels_as_pillow() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("plain_onnxruntime", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    for length in (*range(1, 1200), 2448, 3024, 4032, 6000):
        numbers = Image.fromarray(np.arange(length, dtype=np.int32)[np.newaxis])
        expected = np.asarray(numbers.resize((224, 1), Image.Resampling.NEAREST))[0]
        np.testing.assert_array_equal(script.nearest(length, 224), expected)
