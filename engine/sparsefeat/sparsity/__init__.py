"""Zeros of activations: how many, where, and what goes with them.

===============  ====================================================================
`counts`         what was counted of one layer
`spread`         mean and spread over pictures
`accumulator`    counting batch by batch
`from_store`     counting what a store holds
===============  ====================================================================

Each name loads its module when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
