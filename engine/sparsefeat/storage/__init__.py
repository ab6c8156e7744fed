"""Where bytes live: the folder of a store, and the files that commands write."""

from sparsefeat.storage.local import LocalStorage, StoredFile, Usage, sync
from sparsefeat.storage.whole_file import (
    check_replaceable,
    is_special,
    made_folder,
    refusal,
    replacing,
    write_file,
)

__all__ = [
    "LocalStorage",
    "StoredFile",
    "Usage",
    "check_replaceable",
    "is_special",
    "made_folder",
    "refusal",
    "replacing",
    "sync",
    "write_file",
]
