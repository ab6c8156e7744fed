"""VGG16 features of images with ONNX Runtime, stored as compressed sparse rows.

The public names are listed in ``__init__.pyi``; each name loads its module when first used,
so that ``import sparsefeat`` costs nothing.
"""

import logging
from typing import Any

import lazy_loader

logging.getLogger(__name__).addHandler(logging.NullHandler())
_attribute, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sparsefeat")
    return _attribute(name)
