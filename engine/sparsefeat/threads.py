"""How many threads this process may really use."""

import math
import os
from pathlib import Path

# A process sees its own limits in the folder of its control group and in all above it.
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


def available_threads(
    *, cgroup_root: Path = CGROUP_ROOT, cgroup_of_process: Path = CGROUP_OF_PROCESS
) -> int:
    """Count the processors that this process may use, from its affinity and its CPU quota.

    ONNX Runtime and `os.cpu_count` count those of the host, which in a container that may
    use 2 of 64 gives 64 threads that wait for each other.

    Parameters
    ----------
    cgroup_root, cgroup_of_process
        Where Linux says what the quota is (cgroup v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``).

    Returns
    -------
    int
        At least 1; a quota of 1.5 processors gives 2.
    """
    quota = _quota(cgroup_root, cgroup_of_process)
    processors = _affinity()
    return processors if quota is None else max(1, min(processors, math.ceil(quota)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows: no affinity to ask for


def _quota(root: Path, of_process: Path) -> float | None:
    """Find the smallest quota on the way from the process' control group up to the root."""
    limits = []
    for line in _read(of_process).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, limit_of = root, _quota_v2
        elif "cpu" in controllers.split(","):
            base, limit_of = root / controllers, _quota_v1
            if not base.is_dir():
                base = root / "cpu"
        else:
            continue
        group = Path(name.strip("/"))
        # In a container the group's name may be the host's, which isn't mounted here: those
        # folders don't exist and say nothing, and the root then speaks for the container.
        limits += [limit_of(base / folder) for folder in (group, *group.parents)]
    return min((limit for limit in limits if limit is not None), default=None)


def _quota_v2(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return int(fields[0]) / int(fields[1])


def _quota_v1(folder: Path) -> float | None:
    quota = _read(folder / "cpu.cfs_quota_us").strip()
    period = _read(folder / "cpu.cfs_period_us").strip()
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
