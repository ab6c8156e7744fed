"""Find images, decode them, and scale them to the network's input.

=================  ==================================================================
`listing`          list images in a stable order
`stream`           list images in a thread, while the first of them are processed
`path_list`        read lists of paths
`manifest`         read tables of paths
`columns`          the label of an image, and columns that are stored with it
`containers`       images in tar, zip and Parquet files
`members`          find one image in such a file
`parquet`          read the rows of Parquet files
`bucket`           images in buckets
`shard`            divide images among processes
`patterns`         match paths with patterns
`folders`          search folders
`source`           the record of a listed image, and the reasons of rejects
`reading`          read the bytes of an image
`decoding`         decode an image to RGB pixels
`pillow`           the interface to Pillow
`presets`          the named ways to turn an image into pixels
`preprocess`       scale pixels to the network's input
=================  ==================================================================

Each name loads its module when first used: listing loads no Pillow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
