import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from sparsefeat.system import environment as module
from sparsefeat.system.environment import describe_environment, first_processor
from sparsefeat.system.threads import available_threads

CPUINFO = """\
processor\t: 0
model name\t: Some Processor @ 2.00GHz
flags\t\t: fpu avx2 avx512f amx_bf16

processor\t: 1
model name\t: Another One
"""


def test_the_environment_is_plain_json() -> None:
    record = json.loads(json.dumps(describe_environment()))
    assert record["packages"]["numpy"] == numpy.__version__
    assert record["limits"]["available_threads"] == available_threads()
    assert record["python"].endswith(".".join(map(str, sys.version_info[:3])))
    if hasattr(os, "sched_getaffinity"):
        assert set(record["limits"]["affinity"]) == os.sched_getaffinity(0)
    if Path("/proc/meminfo").exists():
        assert 0 < record["memory"]["available_bytes"] < record["memory"]["total_bytes"]


def test_the_first_processor_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    fields = first_processor(path)
    assert fields["model name"] == "Some Processor @ 2.00GHz"
    monkeypatch.setattr(module, "first_processor", lambda: fields)
    assert describe_environment()["processor"]["flags"] == ["amx_bf16", "avx2", "avx512f"]


def test_missing_files_of_the_system_give_empty_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_processor(tmp_path / "none") == {}
    monkeypatch.setattr(module, "CPU", tmp_path)
    monkeypatch.setattr(module, "MEMINFO", tmp_path / "none")
    record = describe_environment()
    assert record["processor"]["governor"] is record["processor"]["boost"] is None
    assert record["memory"]["total_bytes"] is None


def test_governor_and_boost_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU", tmp_path)
    for name, text in (("cpu0/cpufreq/scaling_governor", "powersave"), ("cpufreq/boost", "1")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    processor = describe_environment()["processor"]
    assert (processor["governor"], processor["boost"]) == ("powersave", True)
    (tmp_path / "intel_pstate").mkdir()
    (tmp_path / "intel_pstate/no_turbo").write_text("1\n")
    assert describe_environment()["processor"]["boost"] is False


def test_variables_that_change_threads_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    assert describe_environment()["variables"]["OMP_NUM_THREADS"] == "3"
    assert "x" not in describe_environment()["variables"].values()


def test_versions_are_read_without_importing_packages() -> None:
    code = (
        "import sys, sparsefeat.system.environment as e; e.describe_environment()\n"
        "print(*{n.split('.')[0] for n in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "onnxruntime", "numpy"}.intersection(done.stdout.split())
