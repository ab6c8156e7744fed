"""The Keras network that is exported: loaded, checked to be VGG16's chain, and described.

=============  ===================================================================
`loading`      the network that a request names, with its weights and its scaling
`chain`        its layers one after the other, VGG16's convolutions and pools first
`description`  the same in words, and the digest of its weights
=============  ===================================================================
"""

from sparsefeat_export.network.description import describe, digest
from sparsefeat_export.network.loading import Network, load

__all__ = ["Network", "describe", "digest", "load"]
