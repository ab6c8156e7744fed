"""`cut_model.py` writes a part of a model for other programs."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import sparsefeat

from .conftest import RunScript


def test_a_part_gives_the_same_results_as_the_whole_model(
    furnished: Path, run_script: RunScript, tmp_path: Path
) -> None:
    layers = ["block1_conv2/pre", "block1_conv2"]
    path = tmp_path / "part.onnx"
    printed = run_script("cut_model.py", "demo/vgg16.onnx", *layers, "-o", path)
    assert [line.split()[0] for line in printed.splitlines()] == layers

    graph = onnx.load(path, load_external_data=False).graph
    assert {one.name for one in graph.initializer} == {
        f"block1_conv{number}/{kind}" for number in (1, 2) for kind in ("kernel", "bias")
    }
    weights = 4 * (64 * 3 * 9 + 64 + 64 * 64 * 9 + 64)
    assert weights <= (tmp_path / "part.onnx.data").stat().st_size < weights + 65536

    images = np.random.default_rng(0).uniform(-100, 120, (2, 64, 48, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    before, after = session.run(layers, {"images": images})
    expected = sparsefeat.Extractor(
        furnished / "demo/vgg16.onnx", layers, convolution="direct"
    ).run(images)
    assert before.shape == (2, 64, 64, 48)  # channels first
    np.testing.assert_array_equal(before.transpose(0, 2, 3, 1), expected[layers[0]])
    np.testing.assert_array_equal(after, expected[layers[1]])
    np.testing.assert_array_equal(np.maximum(before, 0).transpose(0, 2, 3, 1), after)
    # A program that runs the part can read how pixels are scaled.
    assert "sparsefeat" in session.get_modelmeta().custom_metadata_map


def test_a_second_run_replaces_the_files_of_the_first(
    furnished: Path, run_script: RunScript, tmp_path: Path
) -> None:
    for layer in ("block2_pool", "block1_pool"):
        run_script("cut_model.py", "demo/vgg16.onnx", layer, "-o", tmp_path / "part.onnx")
    whole = onnx.load(tmp_path / "part.onnx")
    assert [one.name for one in whole.graph.output] == ["block1_pool"]
    assert (tmp_path / "part.onnx.data").stat().st_size < 300_000
