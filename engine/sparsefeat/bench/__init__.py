"""Compare engines that run the network, on the same machine, model and images.

===============  ====================================================================
`comparison`     starts engines, checks their outputs, times them
`engines`        the engines that can be compared
`work`           checks the job, and prepares the input of all engines
`worker`         the process that runs one engine
`process`        controls such a process from its parent
`ort_engine`     the exported network as `Extractor` runs it
`torch_engine`   the same network in PyTorch
`agreement`      compares the outputs of two engines
`schedule`       warms engines up, gives them turns, measures the load of other programs
`ratios`         confidence intervals and verdicts of paired times
`result`         the result
`text`           writes a result as sentences and rows of text
`report`         writes a result as a page
===============  ====================================================================

Each name loads its module on first use, so that a worker imports only what it runs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
