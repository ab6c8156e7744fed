"""Real model files, for tests and benchmarks, each exported once per run."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

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


MODELS: dict[str, dict[str, Any]] = {
    "small_vgg16": {"weights": "random:0", "top": False, "channels_divisor": 16},
    "small_vgg16_top": {"weights": "random:0", "top": True, "channels_divisor": 16},
    "vgg16": {"weights": "pretrained"},
}


@pytest.fixture(scope="session")
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Path]]:
    """Gives a model by its name; those that the chosen tests want are exported meanwhile.

    Two at a time, for TensorFlow is loaded on one thread.
    """
    items = request.session.items
    wanted = {name for item in items for name in getattr(item, "fixturenames", ())}
    futures: dict[str, Future[Path]] = {}
    with ThreadPoolExecutor(2) as pool:

        def submit(name: str) -> Future[Path]:
            if name not in futures:
                path = tmp_path_factory.mktemp(name) / "vgg16.onnx"
                futures[name] = pool.submit(_export, path, MODELS[name])
            return futures[name]

        for name in filter(wanted.__contains__, MODELS):
            submit(name)
        yield lambda name: submit(name).result()
        pool.shutdown(cancel_futures=True)


def _export(path: Path, options: dict[str, Any]) -> Path:
    return sparsefeat_export.export(path, **options).path


@pytest.fixture(scope="session")
def vgg16(exported: Callable[[str], Path]) -> Path:
    """VGG16 without its top, with the ImageNet convolutions."""
    return exported("vgg16")


@pytest.fixture(scope="session")
def small_vgg16(exported: Callable[[str], Path]) -> Path:
    """A sixteenth of VGG16's channels, random weights, without the top."""
    return exported("small_vgg16")


@pytest.fixture(scope="session")
def small_vgg16_top(exported: Callable[[str], Path]) -> Path:
    """A sixteenth of VGG16's channels, random weights, with the top."""
    return exported("small_vgg16_top")


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
