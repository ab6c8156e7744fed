"""The control groups in which Linux keeps this process, and where their limits stand."""

from collections.abc import Iterator
from pathlib import Path

# A process sees its own limits in the folder of its control group and in all above it.
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


def group_folders(
    controller: str, *, cgroup_root: Path = CGROUP_ROOT, cgroup_of_process: Path = CGROUP_OF_PROCESS
) -> Iterator[tuple[Path, int]]:
    """List the folders that may limit this process, each with its cgroup version, 1 or 2.

    In a container the group's name may be the host's, which isn't mounted here: those folders
    don't exist and say nothing, and the root then speaks for the container.

    Parameters
    ----------
    controller
        What is limited: "cpu" or "memory".
    cgroup_root, cgroup_of_process
        Where Linux says what the limits are.
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
    """Read a file of the system's; an empty text where it says nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""
