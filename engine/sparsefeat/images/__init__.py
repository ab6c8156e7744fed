"""Images: finding them, decoding them, and preparing them as VGG16 expects.

=================  ==================================================================
`listing`          which files there are, in a stable order, and what to call them
`stream`           listing in a thread, while the first images are worked on
`path_list`        the paths in a list that another program wrote
`manifest`         the paths in a table, row by row
`columns`          what a table or a sample says of an image: its label, and what is kept
`containers`       images in tar, zip and Parquet files; `members` finds one, `parquet` reads rows
`bucket`           images that are objects of a bucket
`shard`            dividing images among processes
`patterns`         which names a pattern means, and which files are no images
`folders`             a folder's files, each once, whatever links there are
`source`           one file found, how its name is written, and the reasons of rejects
`reading`          a file's bytes, read once, or those of a stored row's file
`decoding`         one image to 8-bit RGB pixels, or a reject with its reason
`pillow`           the one boundary to Pillow: its decoders, their errors, resizing
`presets`          the named ways from an image to pixels, and what they make of odd ones
`preprocess`       pixels to the network's input: blue first, the mean subtracted
=================  ==================================================================

Each name loads its module when first used: listing loads no Pillow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
