"""Real model files, for tests and benchmarks, each exported once per run."""

import signal
from pathlib import Path

import pytest

import sparsefeat_export


def pytest_configure() -> None:
    """Let signals work in the processes that tests start.

    Whoever runs the tests in the background has them ignore these, and children inherit it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
