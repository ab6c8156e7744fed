"""Real model files, for tests and benchmarks, each exported once per run."""

import signal
from pathlib import Path

import pytest
from PIL import Image

import sparsefeat_export
from sparsefeat_export.photographs import SHIPPED


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


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen photographs: those that the package ships, and halves of some."""
    made = tmp_path_factory.mktemp("calibration")
    for index, path in enumerate(sorted(SHIPPED.glob("*.jpg"))):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((400, 400))
        picture.save(made / f"{path.stem}.png")
        if index < 6:
            half = picture.crop((0, 0, picture.width // 2, picture.height))
            half.save(made / f"{path.stem}-left.png")
    return made


@pytest.fixture(scope="session")
def small_int8(
    small_vgg16: Path, calibration: Path, tmp_path_factory: pytest.TempPathFactory
) -> sparsefeat_export.QuantizeResult:
    """`small_vgg16`, quantized."""
    path = tmp_path_factory.mktemp("small_int8") / "int8.onnx"
    return sparsefeat_export.quantize(small_vgg16, path, calibration=calibration, views=12)
