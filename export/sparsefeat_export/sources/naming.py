"""What a user may call weights."""

import os
import re
from pathlib import Path
from typing import Any

from sparsefeat_export.errors import WeightsError, WeightsNotFoundError
from sparsefeat_export.external import check_content

SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx")
EXPECTED = f"imagenet, pretrained, random:SEED or a file ending in {', '.join(SUFFIXES)}"


def resolve(weights: Any, folder: Path) -> str:
    """Give the name that the steps know weights by: a keyword, or an absolute path.

    A Keras model is saved in `folder`.

    Raises
    ------
    WeightsError
        It is none of these.
    """
    if not isinstance(weights, str | Path):
        return _save(weights, folder)
    name = str(weights)
    if name in ("imagenet", "pretrained") or re.fullmatch(r"random:[0-9]{1,18}", name):
        return name
    path = Path(name).expanduser().absolute()
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"weights {name!r}: expected {EXPECTED}")
    if not os.path.lexists(path):
        raise WeightsNotFoundError(f"there is no weights file {path}: expected {EXPECTED}")
    check_content(path)
    return str(path)


def _save(model: Any, folder: Path) -> str:
    if not hasattr(model, "save") or not hasattr(model, "layers"):
        raise WeightsError(f"weights is a {type(model).__name__}, expected {EXPECTED}")
    path = folder / f"{model.name}.keras"
    model.save(path)
    return str(path)
