"""Describe what a measurement ran on: processor, limits, memory, system, versions, load."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sparsefeat.system.cgroup import read_text
from sparsefeat.system.memory import MEMINFO, memory_sizes
from sparsefeat.system.threads import affinity, available_threads, cpu_quota

# The x86 and Arm features that determine the speed of convolutions.
TELLING_FLAGS = frozenset(
    {"avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16"}
    | {"amx_tile", "amx_bf16", "amx_int8", "amx_fp16"}
    | {"asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"}
)

PACKAGES = (
    "sparsefeat",
    "numpy",
    "scipy",
    "numba",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-openvino",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "torch",
    "pillow",
    "zarr",
    "anndata",
)

# Prefixes of environment variables that change a library's threads or instructions.
TELLING_VARIABLES = (
    *("OMP_", "KMP_", "MKL_", "ONEDNN_", "DNNL_", "XLA_", "ORT_", "NUMBA_"),
    *("TF_ENABLE_", "TF_NUM_", "TF_XLA_"),
)

CPUINFO = Path("/proc/cpuinfo")
CPU = Path("/sys/devices/system/cpu")


def describe_environment() -> dict[str, Any]:
    """Describe the machine and the installation in JSON's types.

    Versions are read from the metadata of packages, which are not imported. Unknown values are
    None.

    Examples
    --------
    >>> sorted(describe_environment())
    ['limits', 'load_average', 'memory', 'packages', 'processor', 'python', 'system', 'variables']
    """
    fields = first_processor()
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    memory = memory_sizes(MEMINFO)
    return {
        "processor": {
            "model": fields.get("model name") or platform.processor() or platform.machine(),
            "logical_count": os.cpu_count(),
            "flags": sorted(TELLING_FLAGS.intersection(flags)),
            "governor": _read(CPU / "cpu0/cpufreq/scaling_governor"),  # virtual machines have none
            "boost": _boost(),
        },
        "limits": {
            "affinity": affinity(),
            "cpu_quota": cpu_quota(),
            "available_threads": available_threads(),
        },
        "memory": {
            "total_bytes": memory.get("MemTotal"),
            "available_bytes": memory.get("MemAvailable"),
        },
        "system": {"platform": platform.platform(), "machine": platform.machine()},
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(TELLING_VARIABLES)
        },
        "load_average": load_average(),
    }


def load_average() -> list[float] | None:
    """Return the load averages over 1, 5 and 15 minutes; None if the system has none."""
    try:
        return [round(load, 2) for load in os.getloadavg()]
    except (AttributeError, OSError):  # Windows has none
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _boost() -> bool | None:
    """Return whether frequency boost is enabled; None if the system has no such switch."""
    if (off := _read(CPU / "intel_pstate/no_turbo")) is not None:
        return off == "0"
    on = _read(CPU / "cpufreq/boost")
    return None if on is None else on == "1"


def _read(path: Path) -> str | None:
    return read_text(path).strip() or None


def first_processor(cpuinfo: Path | None = None) -> dict[str, str]:
    """Read the fields of the first processor, such as ``model name`` and ``flags``.

    Parameters
    ----------
    cpuinfo
        The file to read; by default ``/proc/cpuinfo``.

    Returns
    -------
    dict
        Empty if there is no such file.
    """
    try:
        lines = (cpuinfo or CPUINFO).read_text(errors="replace").splitlines()
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if fields and not name.strip():
            break  # the next processor
        if name.strip():
            fields[name.strip()] = value.strip()
    return fields
