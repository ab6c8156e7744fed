"""Reading a JSON document of a part."""

import json
import math
from pathlib import Path
from typing import Any

from sparsefeat.store.bounds import JSON_BYTES
from sparsefeat.store.regular_file import read_regular


def read_json(path: Path) -> Any:
    """Read a JSON document; NaN and infinities are errors, however they are written.

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

    def finite(number: str) -> float:
        if not math.isfinite(value := float(number)):  # 1e999 would be written as Infinity again
            raise ValueError(f"{number} is no number that a float64 holds")
        return value

    return json.loads(document, parse_constant=refuse, parse_float=finite)
