from .cgroup import read_text
from .choices import check_choice, close_matches, unknown_choice
from .dependencies import REINSTALL, describe_exception, failed_import, importing, interrupted
from .environment import CPUINFO, describe_environment, first_processor
from .memory import available_memory
from .paths import checked_path, checked_paths, refuse_empty
from .text import counted, human_bytes, one_line, percent, ranges
from .threads import (
    LARGEST_BATCH,
    affinity,
    available_threads,
    checked_count,
    checked_threads,
    chosen_threads,
    in_threads,
    map_ordered,
    overlapped,
)

__all__ = [
    "CPUINFO",
    "LARGEST_BATCH",
    "REINSTALL",
    "affinity",
    "available_memory",
    "available_threads",
    "check_choice",
    "checked_count",
    "checked_path",
    "checked_paths",
    "checked_threads",
    "chosen_threads",
    "close_matches",
    "counted",
    "describe_environment",
    "describe_exception",
    "failed_import",
    "first_processor",
    "human_bytes",
    "importing",
    "in_threads",
    "interrupted",
    "map_ordered",
    "one_line",
    "overlapped",
    "percent",
    "ranges",
    "read_text",
    "refuse_empty",
    "unknown_choice",
]
