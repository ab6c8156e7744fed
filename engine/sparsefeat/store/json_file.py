"""Reading a JSON document of a part."""

import json
from pathlib import Path
from typing import Any

from sparsefeat.store.bounds import JSON_BYTES
from sparsefeat.store.regular_file import read_regular


def read_json(path: Path) -> Any:
    """Read a JSON document; NaN and infinities, which JSON hasn't, are errors.

    Raises
    ------
    ValueError, RecursionError
        It is none, or too long, or nested too deep.
    OSError
        It can't be read.
    """
    return parse_json(read_regular(path, JSON_BYTES))


def parse_json(document: bytes | str) -> Any:
    """Parse a JSON document; raises as `read_json` does."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(document, parse_constant=refuse)
