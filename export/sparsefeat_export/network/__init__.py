"""Load the Keras network to export, check that it is a VGG16, and describe it.

=============  ===================================================================
`loading`      load the network with its weights and its scaling
`chain`        check that the layers form a chain that starts with VGG16's
`description`  describe the layers for the metadata; the digest of the weights
=============  ===================================================================
"""

from sparsefeat_export.network.description import describe, digest
from sparsefeat_export.network.loading import Network, load

__all__ = ["Network", "describe", "digest", "load"]
