"""Worker processes on other machines, or on this one."""

from sparsefeat.cluster.workers import Finished, Workers

__all__ = ["Finished", "Workers"]
