"""`own_top.py` trains a top, exports the model and extracts its layers."""

import re
from pathlib import Path

import pytest

import sparsefeat

from .conftest import RunScript


def test_the_top_learns_and_its_export_agrees_with_keras(
    furnished: Path, run_script: RunScript, tmp_path: Path
) -> None:
    printed = run_script("own_top.py", "demo", "-o", tmp_path)
    accuracy = re.search(r"other halves: ([0-9.]+)", printed)
    difference = re.search(r"difference from Keras: ([0-9.e-]+)", printed)
    assert accuracy is not None
    assert difference is not None
    assert float(accuracy[1]) > 0.6  # by chance 0.17
    assert float(difference[1]) < 1e-4

    # The exported model has the demo's convolutions and the trained top.
    own = sparsefeat.Extractor(tmp_path / "own_top.onnx", "block5_pool,hidden,classes")
    whole = sparsefeat.Extractor(furnished / "demo/vgg16.onnx", "block5_pool", size=(96, 96))
    images = sorted((furnished / "demo/photos").iterdir())
    (ours,), (demo,) = own.extract(images), whole.extract(images)
    dense = {name: csr.to_scipy().toarray() for name, csr in ours.layers.items()}
    assert dense["block5_pool"] == pytest.approx(
        demo.layers["block5_pool"].to_scipy().toarray(), rel=1e-4, abs=1e-3
    )
    assert dense["hidden"].shape == (6, 32)
    assert dense["classes"].sum(axis=1) == pytest.approx(1, abs=1e-5)
