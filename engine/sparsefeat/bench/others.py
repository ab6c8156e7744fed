"""How much of the processors other programs had while something was timed."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from sparsefeat.system.cgroup import read_text
from sparsefeat.system.threads import affinity

PROC = Path("/proc")

# The columns of /proc/stat that count time in which a processor did nothing; those behind `steal`
# are in `user` and `nice` already (proc_stat(5)).
IDLE = (3, 4)
COUNTED = 8

# A processor's clock counts in hundredths of a second: shorter spans say nothing.
MIN_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Processor time that was used since the system started, in seconds.

    `all_seconds` is that of the processors that this process may run on, with what a virtual
    machine's host took of them; `own_seconds` that of this process and of all that it started.
    """

    at: float
    all_seconds: float
    own_seconds: float


def read_usage(proc: Path = PROC) -> Usage | None:
    """Read how much processor time was used; None where the system doesn't say (not Linux)."""
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0
    counted = _all_ticks(proc / "stat")
    if counted is None or not tick:
        return None
    return Usage(
        at=time.monotonic(), all_seconds=counted / tick, own_seconds=_own_ticks(proc) / tick
    )


def used_by_others(before: Usage | None, after: Usage | None) -> float | None:
    """Say how many processors other programs used in between, on average.

    Returns
    -------
    float or None
        0.5 is half a processor. None where the system doesn't say, or counts for less than this
        process and its children used: some containers' files do.
    """
    if before is None or after is None or after.at - before.at < MIN_SECONDS:
        return None
    own = after.own_seconds - before.own_seconds
    others = after.all_seconds - before.all_seconds - own
    if others < -0.1 * own - MIN_SECONDS:
        return None
    return max(0.0, others / (after.at - before.at))


def _all_ticks(stat: Path) -> int | None:
    mine = affinity()
    wanted = None if mine is None else {f"cpu{number}" for number in mine}
    total = None
    for line in read_text(stat).splitlines():
        name, *columns = line.split()
        if name.startswith("cpu") and name != "cpu" and (wanted is None or name in wanted):
            busy = (int(one) for n, one in enumerate(columns[:COUNTED]) if n not in IDLE)
            total = (total or 0) + sum(busy)
    return total


def _own_ticks(proc: Path) -> int:
    """Sum up this process and all below it, those included that have ended and were waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            # The name of the program, in brackets, may hold anything.
            fields = read_text(folder / "stat").rpartition(")")[2].split()
            if fields:  # else it has ended meanwhile
                process = int(folder.name)
                parents[process] = int(fields[1])
                ticks[process] = sum(map(int, fields[11:15]))
    return sum(used for process, used in ticks.items() if _is_below(process, os.getpid(), parents))


def _is_below(process: int, top: int, parents: dict[int, int]) -> bool:
    while process not in (0, top):
        process = parents.get(process, 0)
    return process == top
