"""Real model files, for tests and benchmarks, each exported once per run."""

from pathlib import Path

import pytest

import sparsefeat_export


@pytest.fixture(scope="session")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG16 without its top, with the ImageNet convolutions."""
    path = tmp_path_factory.mktemp("vgg16") / "vgg16.onnx"
    return sparsefeat_export.export(path, weights="pretrained").path


@pytest.fixture(scope="session")
def small_vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sixteenth of VGG16's channels, random weights, without the top."""
    path = tmp_path_factory.mktemp("small_vgg16") / "vgg16.onnx"
    return sparsefeat_export.export(path, weights="random:0", top=False, channels_divisor=16).path


@pytest.fixture(scope="session")
def small_vgg16_top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sixteenth of VGG16's channels, random weights, with the top."""
    path = tmp_path_factory.mktemp("small_vgg16_top") / "vgg16.onnx"
    return sparsefeat_export.export(path, weights="random:0", top=True, channels_divisor=16).path
