"""The machine and the installation: processors, memory, threads, packages, paths, messages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
