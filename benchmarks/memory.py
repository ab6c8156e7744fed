"""Peak memory of a command, with or without the processes that it starts."""

import subprocess
import time
from dataclasses import dataclass

import psutil

EVERY_SECONDS = 0.03


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The largest sums over all processes that were seen, in GB.

    Resident memory counts what processes share once for each of them, proportional memory
    once for all.
    """

    rss_gb: float
    pss_gb: float


def peak_memory(command: list[str], *, children: bool = True) -> Peak:
    """Run a command and sample its memory; shorter peaks are missed.

    `children` says whether the processes that it starts are included.

    While there is one process, only resident memory is sampled: proportional memory is nearly the
    same, and reading it stops the process for milliseconds.
    """
    rss_peak = pss_peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as root:
        while root.poll() is None:
            rss = pss = 0
            try:
                processes = [psutil.Process(root.pid)]
                if children:
                    processes += processes[0].children(recursive=True)
            except psutil.NoSuchProcess:
                break
            for process in processes:
                try:
                    memory = process.memory_full_info() if processes[1:] else process.memory_info()
                except psutil.Error:  # it has just ended
                    continue
                rss, pss = rss + memory.rss, pss + getattr(memory, "pss", memory.rss)
            rss_peak, pss_peak = max(rss_peak, rss), max(pss_peak, pss)
            time.sleep(EVERY_SECONDS)
    assert root.returncode == 0, command
    return Peak(rss_gb=rss_peak / 1e9, pss_gb=pss_peak / 1e9)
