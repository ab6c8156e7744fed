"""Determine how much memory this process may still use."""

import os
from pathlib import Path

from sparsefeat.system.cgroup import CGROUP_OF_PROCESS, CGROUP_ROOT, group_folders, read_text

MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")

# Names of the limit, of the usage, and, in memory.stat, of the part of the usage that is page cache
# and is freed when memory is short; by cgroup version.
_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def available_memory(
    *,
    cgroup_root: Path = CGROUP_ROOT,
    cgroup_of_process: Path = CGROUP_OF_PROCESS,
    meminfo: Path = MEMINFO,
    statm: Path = STATM,
) -> int | None:
    """Return how many bytes this process can allocate before the system refuses or kills it.

    It is the minimum of the machine's available memory, of what the limits of the control groups
    leave (those of a container or batch system), and of what the limit of address space leaves
    (``ulimit -v``).

    Parameters
    ----------
    cgroup_root, cgroup_of_process, meminfo, statm
        The Linux files to read.

    Returns
    -------
    int or None
        None if unknown (on Windows). On macOS it is the total memory of the machine.
    """
    folders = group_folders("memory", cgroup_root=cgroup_root, cgroup_of_process=cgroup_of_process)
    found = [
        _of_machine(meminfo),
        _of_address_space(statm),
        *(_of_group(folder, *_FILES[version]) for folder, version in folders),
    ]
    return min((max(0, each) for each in found if each is not None), default=None)


def memory_sizes(meminfo: Path = MEMINFO) -> dict[str, int]:
    """Read the sizes in ``/proc/meminfo``, in bytes, by their names there."""
    sizes = {}
    for line in read_text(meminfo).splitlines():
        name, _, size = line.partition(":")
        number, _, unit = size.strip().partition(" ")
        if unit == "kB":
            sizes[name] = int(number) * 1024
    return sizes


def _of_machine(meminfo: Path) -> int | None:
    if (available := memory_sizes(meminfo).get("MemAvailable")) is not None:
        return available
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows, and systems without these names
        return None


def _of_group(folder: Path, limit: str, usage: str, given_back: str) -> int | None:
    most, used = read_text(folder / limit).strip(), read_text(folder / usage).strip()
    if not most.isdigit() or not used.isdigit():  # no such group, or "max"
        return None
    stat = (line.partition(" ") for line in read_text(folder / "memory.stat").splitlines())
    return int(most) - int(used) + sum(int(size) for name, _, size in stat if name == given_back)


def _of_address_space(statm: Path) -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = read_text(statm).split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0]) * os.sysconf("SC_PAGE_SIZE")
