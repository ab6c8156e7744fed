import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import sparsefeat_kernels
from sparsefeat_kernels import _csr, _planes, _values, _zstandard

USE = """
import sys
import numpy as np
import sparsefeat_kernels as k
assert "numba" not in sys.modules, "importing the package imported numba"
x = np.array([[0, 1, 2, 0]], np.float32)
csr = k.encode(x)
assert (k.to_dense(csr) == x).all()
from sparsefeat_kernels import _csr
for kernel in (_csr.pack, _csr.unpack):
    stats = kernel.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), stats.cache_path)
print(k.__file__)
"""


def run_kernels(package_root: Path, **environment: str) -> list[tuple[bool, str]]:
    """Run two kernels in a new process; return whether each came from a cache, and from which."""
    unset = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE],
        env={**inherited, "PYTHONPATH": str(package_root), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *kernels, package_file = run.stdout.splitlines()
    assert Path(package_file).is_relative_to(package_root)
    loaded = []
    for line in kernels:
        hits, misses, path = line.split(" ", 2)
        assert int(hits) + int(misses) == 1
        loaded.append((hits == "1", path))
    return loaded


@pytest.fixture
def unwriteable_package(tmp_path: Path) -> Path:
    """Copy the package so that not even root can cache anything in it."""
    root = tmp_path / "installed"
    package = root / "sparsefeat_kernels"
    source = Path(sparsefeat_kernels.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__pycache__").write_text("a file where numba wants its folder")
    return root


@pytest.mark.skipif(sys.platform == "win32", reason="the user's cache folder isn't under HOME")
def test_the_second_process_loads_kernels_that_the_first_compiled(
    unwriteable_package: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    first = run_kernels(unwriteable_package, HOME=str(home))
    second = run_kernels(unwriteable_package, HOME=str(home))
    assert [from_cache for from_cache, _ in first + second] == [False, False, True, True]
    assert all(Path(path).is_relative_to(home) for _, path in first + second)


@pytest.mark.skipif(sys.platform == "win32", reason="the user's cache folder isn't under HOME")
def test_kernels_run_if_nothing_can_be_cached(unwriteable_package: Path) -> None:
    assert run_kernels(unwriteable_package, HOME=os.devnull) == [(False, "None")] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_kernels_that_cannot_be_saved_run_and_warn_once(tmp_path: Path) -> None:
    code = """
import resource, warnings
import numpy as np
import sparsefeat_kernels as k
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
x = np.array([[0, 1, 2, 0]], np.float32)
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("default")
    assert (k.to_dense(k.encode(x)) == x).all()
for warning in found:
    print(warning.category.__name__, warning.message)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (said,) = run.stdout.splitlines()
    assert said.startswith(f"RuntimeWarning compiled kernels can't be saved in {tmp_path}")
    assert "(File too large)" in said
    assert "NUMBA_CACHE_DIR" in said


def test_a_processor_without_compress_instruction_gives_the_same_result(tmp_path: Path) -> None:
    code = """
import numpy as np
from sparsefeat_kernels import encode, reference
from sparsefeat_kernels._csr import pack
rng = np.random.default_rng(3)
x = rng.standard_normal((5, 2055), np.float32)
x[rng.random(x.shape) < 0.6] = 0
ours, plain = encode(x), reference.encode(x)
for name in ("indptr", "indices", "data"):
    assert np.array_equal(getattr(ours, name), getattr(plain, name)), name
assert not any("vpcompress" in assembly for assembly in pack.inspect_asm().values())
"""
    environment = {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_threads_can_load_kernels_at_the_same_time() -> None:
    """No thread sees numba half imported by another one."""
    code = """
import threading
import numpy as np
import sparsefeat_kernels as k
failed = []
def run(use):
    try:
        use()
    except BaseException as exc:
        failed.append(exc)
uses = [lambda: k.encode(np.ones((1, 1), np.float32)), k.choose_variant, k.compile_winograd] * 2
threads = [threading.Thread(target=run, args=(use,)) for use in uses]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_every_kernel_releases_the_interpreter() -> None:
    kernels = [
        value
        for module in (_csr, _planes, _values, _zstandard)
        for value in vars(module).values()
        if isinstance(value, numba.core.dispatcher.Dispatcher)
    ]
    assert len(kernels) == 32
    assert all(kernel.targetoptions.get("nogil") for kernel in kernels)
