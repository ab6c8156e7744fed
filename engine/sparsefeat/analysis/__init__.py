"""Zeros of activations: how many, where, and what goes with them.

==================  =================================================================
`analysis`          zeros of a store or of photographs, by one call
`result`            what that finds out, as frames
`json_form`         the same in JSON's types
`counts`            what was counted of one layer
`spread`            mean and spread over pictures
`accumulator`       counting batch by batch
`from_store`        counting what a store holds
`from_pictures`     counting photographs, without a store
`flatness`          how much of a picture is flat
`stored_pictures`   the same for a store's pictures, from their files
`correlation`       how two figures of the same pictures go together
`comparison`        whether one set of pictures has more zeros than another
`wrong_scalings`    what the usual mistakes do to the zeros
`walk`              the layers of the walk through the network
`words`             all of it in sentences and rows of text
`tables`            all of it in long tables
==================  =================================================================

Each name loads its module when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
