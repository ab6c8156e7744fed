"""VGG16 features of photographs with ONNX Runtime, stored as compressed sparse rows.

What there is to import stands in ``__init__.pyi``; each name loads its module when first used,
so that ``import sparsefeat`` costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
