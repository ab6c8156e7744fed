from .cgroup import read_text
from .choices import check_choice, close_matches, unknown_choice
from .dependencies import REINSTALL, describe_exception, failed_import, importing, interrupted
from .environment import describe_environment, first_processor
from .memory import available_memory
from .paths import refuse_empty, validate_path, validate_paths
from .processes import describe_end, is_kill, start_python
from .text import counted, format_bytes, one_line, percent, ranges
from .threads import (
    MAX_BATCH_SIZE,
    affinity,
    available_threads,
    choose_threads,
    in_threads,
    map_ordered,
    overlapped,
    validate_count,
    validate_threads,
)

__all__ = [
    "MAX_BATCH_SIZE",
    "REINSTALL",
    "affinity",
    "available_memory",
    "available_threads",
    "check_choice",
    "choose_threads",
    "close_matches",
    "counted",
    "describe_end",
    "describe_environment",
    "describe_exception",
    "failed_import",
    "first_processor",
    "format_bytes",
    "importing",
    "in_threads",
    "interrupted",
    "is_kill",
    "map_ordered",
    "one_line",
    "overlapped",
    "percent",
    "ranges",
    "read_text",
    "refuse_empty",
    "start_python",
    "unknown_choice",
    "validate_count",
    "validate_path",
    "validate_paths",
    "validate_threads",
]
