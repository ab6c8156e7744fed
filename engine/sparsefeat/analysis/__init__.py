"""Zeros of activations: how many, where, and what goes with them.

==================  =================================================================
`analysis`          zeros of a store or of images, by one call
`result`            what that finds out, as frames and in JSON's types
`counting`          counting what a store holds, or images without a store
`counts`            what was counted of one layer, batch by batch; mean and spread
`flatness`          how much of an image is flat
`statistics`        correlations, and whether one set of images has more zeros
`wrong_scalings`    what the usual mistakes do to the zeros
`tables`            all of it in rows of text and in long tables
==================  =================================================================

Each name loads its module when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
