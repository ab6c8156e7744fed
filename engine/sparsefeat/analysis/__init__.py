"""Analyse the zeros of activations: how many there are, where, and what they correlate with.

==================  =================================================================
`analysis`          analyses a store or images in one call
`result`            holds the result as pandas frames and as JSON
`counting`          counts the zeros of a store, or of images without a store
`counts`            holds the counts of one layer; mean and spread over images
`flatness`          measures how much of an image is flat
`statistics`        correlates two measures; compares two sets of images
`wrong_scalings`    measures what wrongly scaled input does to the zeros
`tables`            writes results as rows of text and as long tables
==================  =================================================================

Importing this package imports nothing else: each name loads its module on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
