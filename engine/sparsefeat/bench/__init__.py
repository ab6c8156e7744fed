"""Comparing ways of running the network on the same machine, model and images.

===============  ====================================================================
`comparison`     the comparison: engines started, checked, timed
`engines`        the ways of running the network there are
`work`           what they are given to do, and whether it can be
`worker`         the process that an engine lives in
`process`        the same, as its parent sees it
`ort_engine`     the exported network as extraction runs it, inside a worker
`torch_engine`   the same network in PyTorch, inside a worker
`agreement`      whether engines compute the same
`schedule`       warming up, rounds, turns, and how busy the machine was meanwhile
`ratios`         what paired times say, and what they don't
`result`         what was found
`text`           the same in sentences and rows of text
`report`         the same as a page
===============  ====================================================================

Each name loads its module when first used: a worker imports no more than it runs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
