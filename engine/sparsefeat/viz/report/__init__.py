"""A report on a store: what is zero, where, what it takes, and how it was made.

===============  ====================================================================
`build`          a report's figures, gathered from a store
`result`         the same as a value
`sizes`          what layers take
`floor`          what they could take: an estimate
`extremes`       the pictures with the most zeros, and those with the fewest
`outliers`       pictures unlike the others
`thumbnails`     small pictures of the originals
`words`          a report in sentences
`plots`          its plots, and tables that say the same
`page`           all of it as one page
===============  ====================================================================

Each name loads its module when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
