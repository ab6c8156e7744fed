"""Worker processes, on this machine or on those of a cluster."""

from sparsefeat.cluster.local_workers import LocalWorkers
from sparsefeat.cluster.ray_workers import RayWorkers
from sparsefeat.cluster.workers import LOCAL, Finished, Workers

__all__ = ["LOCAL", "Finished", "LocalWorkers", "RayWorkers", "Workers"]
