"""Models, images and rounds for the benchmarks, and the table of claims at the end."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

import sparsefeat
import sparsefeat_export
from sparsefeat.bench import ENGINES
from sparsefeat.images import decode, preset
from sparsefeat.system.environment import describe_environment, load_average
from sparsefeat.types import Reject
from sparsefeat_export import quantization
from sparsefeat_export.sources.fetching import cache_dir

from .claims import Claim, table
from .engines import SIZE
from .photographs import Photographs

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 3600
CLAIMS = pytest.StashKey[list[Claim]]()
MakeClaim = Callable[[Claim], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sparsefeat's benchmarks")
    group.addoption(
        "--images",
        type=int,
        default=256,
        help="how many an extraction is timed on where benchmarks are enabled (256)",
    )
    group.addoption(
        "--rounds",
        type=int,
        default=None,
        help="at most so many rounds of what has a fixed number of them",
    )
    group.addoption(
        "--scale-rows",
        type=int,
        default=30_000,
        help="rows of the smallest of three synthetic stores; the largest has ten times as many "
        "(30,000)",
    )
    group.addoption(
        "--scale-files",
        type=int,
        default=200_000,
        help="empty files in folders of a thousand that are listed (200,000)",
    )
    group.addoption(
        "--scale-parts",
        type=int,
        default=1000,
        help="parts of one row that are committed one by one (1,000)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CLAIMS] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Raise the time limit of timed benchmarks: rounds and quantizing take minutes."""
    if config.getoption("benchmark_enable"):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Add facts about the machine, so that results of different machines can be distinguished."""
    record = describe_environment()
    del record["load_average"], record["memory"]["available_bytes"]
    machine_info["environment"] = record


@pytest.fixture(autouse=True)
def load_before(request: pytest.FixtureRequest) -> None:
    """Record the machine's load before each measurement."""
    if "benchmark" in request.fixturenames:
        benchmark: BenchmarkFixture = request.getfixturevalue("benchmark")
        benchmark.extra_info["load_average_before"] = load_average()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    claims = config.stash[CLAIMS]
    if claims:
        terminalreporter.section("claims")
        for line in table(claims):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def timing(request: pytest.FixtureRequest) -> bool:
    """Whether benchmarks are timed; otherwise they run as quick tests."""
    return bool(request.config.getoption("benchmark_enable"))


@pytest.fixture
def claim(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> MakeClaim:
    """Record a claim with its measurement, unless nothing is timed."""

    def note(made: Claim) -> None:
        if benchmark.enabled:
            benchmark.extra_info.setdefault("claims", []).append(asdict(made) | {"met": made.met})
            request.config.stash[CLAIMS].append(made)

    return note


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest, timing: bool) -> Callable[[int], int]:
    """Return a function that gives the number of rounds for a wanted number."""
    most = request.config.getoption("rounds")

    def allowed(wanted: int) -> int:
        return min(wanted, most or wanted) if timing else 1

    return allowed


@dataclass(frozen=True, kw_only=True)
class Models:
    """The same network in float32 and int8."""

    fp32: Path
    make_int8: Callable[[], Path]

    @cached_property
    def int8(self) -> Path:
        """The int8 file, which is made on first use; that takes minutes."""
        return self.make_int8()

    def of(self, name: str) -> Path:
        """Return the file that an engine runs."""
        return self.int8 if ENGINES[name].precision == "int8" else self.fp32


@pytest.fixture(scope="session")
def models(
    request: pytest.FixtureRequest,
    timing: bool,
    photographs: Photographs,
) -> Models:
    """VGG16 with the ImageNet convolutions if benchmarks are timed, otherwise a narrow one."""
    fp32: Path = request.getfixturevalue("vgg16" if timing else "small_vgg16")
    if timing:
        return Models(fp32=fp32, make_int8=partial(_int8, request.config, fp32, photographs))
    return Models(fp32=fp32, make_int8=lambda: request.getfixturevalue("small_int8").path)


@pytest.fixture(scope="session")
def photographs(timing: bool, tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    return Photographs(tmp_path_factory.mktemp("images"), backgrounds=timing)


@pytest.fixture(scope="session")
def images(photographs: Photographs) -> Callable[[int], NDArray[np.float32]]:
    """Prepare the first images for VGG16: float32 (n, 224, 224, 3)."""

    def prepare(count: int) -> NDArray[np.float32]:
        keras = preset("keras")
        pixels = np.empty((count, *SIZE, 3), np.uint8)
        for index, path in enumerate(sorted(photographs.take(count).iterdir())):
            decoded = decode(path, keras, SIZE)
            assert not isinstance(decoded, Reject)
            pixels[index] = decoded.pixels
        return sparsefeat.normalize(pixels)

    return prepare


def _int8(config: pytest.Config, fp32: Path, photographs: Photographs) -> Path:
    """Quantize once for this model and version of the quantizer, since it takes minutes."""
    if given := os.environ.get("SPARSEFEAT_INT8_MODEL"):
        return Path(given)
    digest = hashlib.sha256(fp32.with_name(f"{fp32.name}.data").read_bytes())
    for source in sorted(Path(quantization.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    path = cache_dir() / f"benchmark-{digest.hexdigest()[:16]}" / "vgg16-int8.onnx"
    if not path.exists():
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"quantizing to {path}, once for all runs: this takes minutes")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            sparsefeat_export.quantize(fp32, path, calibration=photographs.take(64))
        except BaseException:
            shutil.rmtree(path.parent)
            raise
    return path
