"""How many threads this process may really use."""

import math
import os
from pathlib import Path

from sparsefeat.cgroup import CGROUP_OF_PROCESS, CGROUP_ROOT, group_folders, read_text


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
    limits = [
        (_quota_v2 if version == 2 else _quota_v1)(folder)
        for folder, version in group_folders(
            "cpu", cgroup_root=cgroup_root, cgroup_of_process=cgroup_of_process
        )
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def _quota_v2(folder: Path) -> float | None:
    fields = read_text(folder / "cpu.max").split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return int(fields[0]) / int(fields[1])


def _quota_v1(folder: Path) -> float | None:
    quota = read_text(folder / "cpu.cfs_quota_us").strip()
    period = read_text(folder / "cpu.cfs_period_us").strip()
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)
