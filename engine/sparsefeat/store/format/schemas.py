"""The JSON schemas of a store's documents, for other programs: ``python -m`` this module."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from sparsefeat.store.format.documents import Header, SnapshotDocument

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Give the schemas by the names of their files beside this module."""
    header, snapshot = msgspec.json.schema(Header), msgspec.json.schema(SnapshotDocument)
    sealed = snapshot["$defs"]["SnapshotDocument"]
    sealed["properties"]["crc32c"] = {"type": "string", "pattern": "^[0-9a-f]{8}$"}
    sealed["required"] = ["crc32c", *sealed["required"]]
    return {
        name: {"$schema": _DIALECT, **schema}
        for name, schema in {
            "header.schema.json": header,
            "snapshot.schema.json": snapshot,
        }.items()
    }


if __name__ == "__main__":
    for name, schema in schemas().items():
        Path(__file__).with_name(name).write_text(json.dumps(schema, indent=2) + "\n")
