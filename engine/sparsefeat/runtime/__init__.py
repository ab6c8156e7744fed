"""Run the network: execution providers, precisions, sessions, and checks of what is active."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
