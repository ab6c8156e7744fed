"""Execution providers and precisions: what can be had here, how it is set up, what is active."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
