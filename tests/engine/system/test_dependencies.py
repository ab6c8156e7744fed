"""Packages that are missing, broken or interrupted while they load are reported with the reason."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from sparsefeat.errors import DependencyError
from sparsefeat.system.dependencies import importing

from ..store.data import make_batch, write_store

MISSING = "libodd.so.3: cannot open shared object file: No such file or directory"
BROKEN = {
    "ImportError": f'raise ImportError("{MISSING}")',
    "OSError": f'raise OSError("{MISSING}")',
    "RuntimeError": 'raise RuntimeError("compiled for another processor")',
    "AttributeError": "import math\nmath.no_such_function",
    "ModuleNotFoundError": "import no_such_package_at_all",
    "SystemExit": 'raise SystemExit("bye")',
}
# How pybind11 reports it while an extension module is loaded.
PYBIND11 = """
try:
    raise KeyboardInterrupt
except BaseException as exc:
    raise ImportError("initialization failed") from exc
"""
ANNDATA = "import sparsefeat; sparsefeat.open('store').anndata()"
# Each optional package with code that needs it: arguments of the command, or Python.
OPTIONAL = {
    "onnxruntime": "extract photos -o new -m MODEL",
    "onnxruntime_ep_openvino": "extract photos -o new -m MODEL --provider openvino",
    "plotly": "report store -o page.html",
    "jinja2": "maps photos/a.png -m MODEL -l block5_pool -o maps.html",
    "matplotlib": "maps photos/a.png -m MODEL -l block5_pool -o maps.png",
    "h5py": "convert store -o store.h5ad",
    "pyarrow": "convert store -o store.parquet",
    "skimage": "demo -o demo",
    "sklearn": "demo -o demo",
    "anndata": ANNDATA,
    "dask": ANNDATA,
    "torch": "import sparsefeat.torch",
}
# Python as if a package wasn't installed.
ABSENT = """
import sys
from importlib.machinery import PathFinder
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == {0!r} else super().find_spec(name, path, target)
sys.meta_path = [Finder if one is PathFinder else one for one in sys.meta_path]
"""
# Runs a line several times, because a process for each takes a second: while a package consists of
# each of some codes, and while it is absent.
EACH = """
import importlib, sys, traceback
from pathlib import Path
package, line, absent, *codes = sys.argv[1:]
def attempt():
    try:
        exec(line, {})
        status = 0
    except SystemExit as exc:
        status = exc.code
    except Exception:
        traceback.print_exc()
        status = 1
    print(status, end="\\0", file=sys.stderr)
module = Path("broken", package, "__init__.py")
module.parent.mkdir(parents=True)
sys.dont_write_bytecode = True
sys.path.insert(0, "broken")
for code in codes:
    module.write_text(code)
    importlib.invalidate_caches()
    attempt()
    sys.modules.pop(package, None)
exec(absent)
attempt()
"""
INSTALL = {"anndata": "pip install anndata"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_store(tmp_path / "store", [make_batch(range(3))])
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photos/a.png")
    return tmp_path


def put(folder: Path, package: str, code: str) -> Mapping[str, str]:
    """Return an environment in which a package consists of this code."""
    module = folder / "broken" / package / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(code)
    return os.environ | {"PYTHONPATH": str(folder / "broken")}


def in_python(line: str, model: Path) -> str:
    """Return Python code for arguments of the command; Python code stays what it is."""
    if line.startswith("import "):
        return line
    words = line.replace("MODEL", str(model)).split()
    return f"from sparsefeat.cli import main; main({words!r}, prog_name='sparsefeat')"


def run(
    folder: Path, line: str, model: Path, env: Mapping[str, str], before: str = ""
) -> tuple[int, str]:
    """Run a line in a new process; return its exit code and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{in_python(line, model)}"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stdout
    return done.returncode, done.stderr


def last_line(status: int, said: str, line: str) -> str:
    """Check that a line failed as it should; return the last line of standard error."""
    last = said.splitlines()[-1]
    if line.startswith("import "):
        assert status == 1
        return last
    assert (status, last[:7]) == (2, "Error: "), said
    assert "Traceback" not in said
    return last


GUTTED = ("onnxruntime", "jinja2", "h5py", "anndata", "torch", "plotly")


@pytest.mark.parametrize("package", OPTIONAL)
def test_a_package_that_is_missing_or_broken_is_reported_with_its_installation(
    folder: Path, small_vgg16: Path, package: str
) -> None:
    line, absent = OPTIONAL[package], ABSENT.format(package)
    codes = [BROKEN["ImportError"], *([""] if package in GUTTED else [])]
    words = [package, in_python(line, small_vgg16), absent, *codes]
    done = subprocess.run(
        [sys.executable, "-c", EACH, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    *attempts, rest = done.stderr.split("\0")
    assert not rest, done.stderr
    assert len(attempts) == len(codes) + 1
    broken, *gutted, missing = (last_line(*ended(each), line) for each in attempts)

    assert f"{package} is not installed" in missing
    assert INSTALL.get(package, "pip install ") in missing
    assert not (folder / "new").exists()

    assert "not installed" not in broken
    # anndata itself imports dask if it is installed.
    assert f"{'anndata' if package == 'dask' else package} is installed at " in broken
    assert f"does not load (ImportError: {MISSING})" in broken

    for said in gutted:  # a package that was partly removed
        assert f"{package} " in said
        assert "does not load" in said
        assert re.search(rf"install (it again|{package}) with: ", said)


def ended(attempt: str) -> tuple[int, str]:
    """Split what an attempt printed into its exit code and standard error."""
    said, _, status = attempt.rpartition("\n")
    return int(status), said


@pytest.mark.parametrize("line", ["open('store').obs", "open('store')['block5_pool'][0]"])
def test_broken_required_packages_are_reported_from_python(folder: Path, line: str) -> None:
    package = "pandas" if "obs" in line else "scipy"
    env = put(folder, package, BROKEN["ImportError"])
    said = last_line(*run(folder, f"import sparsefeat; sparsefeat.{line}", folder, env), "import ")
    assert said.startswith("sparsefeat.errors.DependencyError: ")
    assert f"{package} is installed at " in said
    assert f"(ImportError: {MISSING})" in said


UNREADABLE = {"SyntaxError": "def :", "ValueError": "\0", "gutted": ""}


@pytest.mark.parametrize("kind", ["ImportError", "OSError", "AttributeError", *UNREADABLE])
def test_a_broken_click_is_reported(folder: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sparsefeat", "info", "store"],
        cwd=folder,
        env=put(folder, "click", {**BROKEN, **UNREADABLE}[kind]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (said,) = done.stderr.splitlines()
    named = "sparsefeat does not load" if kind in ("ValueError", "gutted") else "click is installed"
    assert said.startswith(f"Error: {named}")
    assert "pip install --force-reinstall sparsefeat" in said


def test_no_part_of_a_table_is_printed_if_scipy_does_not_load(
    folder: Path, small_vgg16: Path
) -> None:
    for number in range(4):
        Image.radial_gradient("L").rotate(number * 9).save(folder / f"photos/{number}.png")
    env = put(folder, "scipy", BROKEN["ImportError"])
    line = "sparsity photos -m MODEL --layers block5_pool --size 32x32"
    assert "scipy is installed at " in last_line(*run(folder, line, small_vgg16, env), line)


@pytest.mark.parametrize("kind", BROKEN)
def test_any_exception_of_a_package_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    put(tmp_path, "odd_package", BROKEN[kind])
    monkeypatch.syspath_prepend(tmp_path / "broken")
    file = tmp_path / "broken/odd_package/__init__.py"
    with pytest.raises(DependencyError) as raised, importing("odd_package"):
        import odd_package  # type: ignore[import-not-found]  # noqa: F401
    assert f"odd_package is installed at {file} but does not load ({kind}: " in str(raised.value)


@pytest.mark.parametrize(("package", "kind"), [("numba", "OSError"), ("onnx", "AttributeError")])
def test_a_broken_required_package_is_reported(
    folder: Path, small_vgg16: Path, package: str, kind: str
) -> None:
    line = "extract photos -o new -m MODEL"
    said = last_line(*run(folder, line, small_vgg16, put(folder, package, BROKEN[kind])), line)
    assert f"{package} is installed at " in said
    assert f"({kind}: " in said


def test_a_missing_required_package_is_reported(folder: Path, small_vgg16: Path) -> None:
    line = "extract photos -o new -m MODEL"
    done = run(folder, line, small_vgg16, os.environ, ABSENT.format("numba"))
    assert "numba is not installed; install sparsefeat again" in last_line(*done, line)


def test_an_empty_folder_left_by_an_uninstallation_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leftover_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    says = rf"{tmp_path}/leftover_package has no __init__.py; remove the folder, .* pip install it"
    with (
        pytest.raises(DependencyError, match=says),
        importing("leftover_package", "pip install it"),
    ):
        import leftover_package  # type: ignore[import-not-found]  # noqa: F401


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("onnxruntime", PYBIND11),
        ("h5py", "raise KeyboardInterrupt"),
        ("numba", "raise KeyboardInterrupt"),
        ("numba", PYBIND11),
    ],
)
def test_an_interrupt_while_a_package_loads_stays_an_interrupt(
    folder: Path, small_vgg16: Path, package: str, code: str
) -> None:
    line = OPTIONAL.get(package, OPTIONAL["onnxruntime"])
    assert run(folder, line, small_vgg16, put(folder, package, code)) == (130, "")


@pytest.mark.parametrize("package", ["tensorflow", "tf2onnx", "onnxruntime"])
def test_broken_packages_are_reported_by_export_and_quantize(folder: Path, package: str) -> None:
    env = put(folder, package, BROKEN["OSError"])
    line = "export -o new.onnx --weights random:0"
    if package == "onnxruntime":
        line = f"quantize {folder / 'any.onnx'} --calibration photos -o new.onnx"
    said = last_line(*run(folder, line, folder, env), line)
    assert f"{package} is installed but does not load (OSError: {MISSING})" in said
    assert "sparsefeat[cpu,export]" in said
    assert not (folder / "new.onnx").exists()


@pytest.mark.parametrize("package", ["tensorflow", "keras", "onnxruntime"])
def test_partly_removed_packages_are_reported_by_export_and_quantize(
    folder: Path, package: str
) -> None:
    line = "export -o new.onnx --weights random:0"
    if package == "onnxruntime":
        line = f"quantize {folder / 'any.onnx'} --calibration photos -o new.onnx"
    said = last_line(*run(folder, line, folder, put(folder, package, "")), line)
    assert f"{package} " in said
    assert "does not load" in said
    assert "sparsefeat[cpu,export]" in said


def test_export_without_tensorflow_names_the_line_that_installs_it(folder: Path) -> None:
    absent = 'raise ModuleNotFoundError("No module named \'tensorflow\'", name="tensorflow")'
    env = put(folder, "tensorflow", absent)
    line = "export -o new.onnx --weights random:0"
    said = last_line(*run(folder, line, folder, env), line)
    assert "tensorflow is not installed; install it with: pip install" in said


BENCH = "bench -m MODEL --size 32x32 --rounds 1 --batch-sizes 1 --threads 1 --engines"
ENGINES = {"tensorflow": "tf-jit", "torch": "torch-eager", "onnxruntime": "onnxruntime-cpu"}


@pytest.mark.parametrize("package", ENGINES)
def test_a_benchmark_of_a_broken_engine_is_an_error(
    folder: Path, small_vgg16: Path, package: str
) -> None:
    env = put(folder, package, BROKEN["OSError"])
    line = f"{BENCH} {ENGINES[package]}"
    said = last_line(*run(folder, line, small_vgg16, env), line)
    assert f"{package} is installed" in said
    assert f"does not load (OSError: {MISSING})" in said


def test_a_benchmark_of_all_engines_leaves_out_broken_ones(folder: Path, small_vgg16: Path) -> None:
    broken = {
        "tensorflow": "tf-jit",
        "torch": "torch-eager",
        "onnxruntime_ep_openvino": "onnxruntime-openvino",
    }
    for package in broken:
        env = put(folder, package, BROKEN["OSError"])
    words = f"{BENCH} all --json -".replace("MODEL", str(small_vgg16)).split()
    done = subprocess.run(
        [sys.executable, "-m", "sparsefeat", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for engine in broken.values():
        assert f"does not load (OSError: {MISSING})" in found["left_out"][engine]
    assert found["rows"]
