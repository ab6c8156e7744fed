"""Worker processes, on this machine or on those of a cluster."""

from sparsefeat.cluster.calls import LOCAL, Finished
from sparsefeat.cluster.local_workers import LocalWorkers
from sparsefeat.cluster.ray_workers import RayWorkers

__all__ = ["LOCAL", "Finished", "LocalWorkers", "RayWorkers"]
