"""Operations on an existing store: verify, compact, merge, remove, vacuum."""

from sparsefeat.store.maintenance.compact import Compaction, compact
from sparsefeat.store.maintenance.info import Commit, history, info
from sparsefeat.store.maintenance.merge import Merge, merge
from sparsefeat.store.maintenance.remove import Removal, Vacuum, remove, vacuum
from sparsefeat.store.maintenance.verify import Finding, VerifyReport, verify

__all__ = [
    "Commit",
    "Compaction",
    "Finding",
    "Merge",
    "Removal",
    "Vacuum",
    "VerifyReport",
    "compact",
    "history",
    "info",
    "merge",
    "remove",
    "vacuum",
    "verify",
]
