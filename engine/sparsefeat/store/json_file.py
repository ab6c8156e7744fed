"""Reading a JSON document of a part."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Read a JSON document; NaN and infinities, which JSON hasn't, are errors."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(path.read_bytes(), parse_constant=refuse)
