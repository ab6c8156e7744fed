"""The Linux control groups of this process, and the folders with their limits."""

from collections.abc import Iterator
from pathlib import Path

# The limits of a control group and of all groups above it apply to a process.
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


def group_folders(
    controller: str, *, cgroup_root: Path = CGROUP_ROOT, cgroup_of_process: Path = CGROUP_OF_PROCESS
) -> Iterator[tuple[Path, int]]:
    """List the control group folders that may limit this process, with their version, 1 or 2.

    In a container, the name of the group may be that of the host and not exist here. The limits of
    the container are then those of the root folder.

    Parameters
    ----------
    controller
        The limited resource: "cpu" or "memory".
    cgroup_root, cgroup_of_process
        Where Linux mounts the groups and names the group of this process.
    """
    for line in read_text(cgroup_of_process).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, version = cgroup_root, 2
        elif controller in controllers.split(","):
            base, version = cgroup_root / controllers, 1
            if not base.is_dir():
                base = cgroup_root / controller
        else:
            continue
        group = Path(name.strip("/"))
        yield from ((base / folder, version) for folder in (group, *group.parents))


def read_text(path: Path) -> str:
    """Read a system file; return "" if it can't be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
