"""Access to bytes: stores on a disk or in a bucket, and the files that commands read and write."""

from sparsefeat.storage.any_keys import is_fetchable
from sparsefeat.storage.files import list_objects, look_at_object, open_object, read_object
from sparsefeat.storage.local import LocalStorage, sync
from sparsefeat.storage.objects import ObjectStorage
from sparsefeat.storage.opening import Storage, StoredFile, is_url, open_storage, validate_location
from sparsefeat.storage.whole_file import (
    check_replaceable,
    create_folder,
    is_special,
    refusal,
    replacing,
    write_file,
)

__all__ = [
    "LocalStorage",
    "ObjectStorage",
    "Storage",
    "StoredFile",
    "check_replaceable",
    "create_folder",
    "is_fetchable",
    "is_special",
    "is_url",
    "list_objects",
    "look_at_object",
    "open_object",
    "open_storage",
    "read_object",
    "refusal",
    "replacing",
    "sync",
    "validate_location",
    "write_file",
]
