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
    quota = cpu_quota(cgroup_root=cgroup_root, cgroup_of_process=cgroup_of_process)
    processors = len(affinity() or ()) or os.cpu_count() or 1
    return processors if quota is None else max(1, min(processors, math.ceil(quota)))


def affinity() -> list[int] | None:
    """List the processors that this process may run on; None on macOS and Windows."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return None


def cpu_quota(
    *, cgroup_root: Path = CGROUP_ROOT, cgroup_of_process: Path = CGROUP_OF_PROCESS
) -> float | None:
    """Find the smallest quota on the way from the process' control group up to the root.

    Returns
    -------
    float or None
        In processors; None without a quota.
    """
    limits = []
    for line in _read(cgroup_of_process).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, limit_of = cgroup_root, _quota_v2
        elif "cpu" in controllers.split(","):
            base, limit_of = cgroup_root / controllers, _quota_v1
            if not base.is_dir():
                base = cgroup_root / "cpu"
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
