"""Photographs: finding them, decoding them, and preparing them as VGG16 expects.

=================  ==================================================================
`listing`          which files there are, in a stable order, and what to call them
`source`           one file found, and how its name is written down
`presets`          the named ways from a picture to pixels of the model's size
`decode`           one picture to 8-bit RGB pixels, or a reject with its reason
`quirks`           what a preset makes of an unusual picture, in one warning each
`preprocess`       pixels to the network's input: blue first, the mean subtracted
`patterns`         which names a pattern means, and which files are no photographs
`path_list`        the paths in a list that another program wrote
`walk`             a folder's files, each once, whatever links there are
`reading`          a file's bytes, read once, or why not
`originals`        the bytes of a stored row's file, if they are still the same
`opening`          the one boundary to Pillow's decoders and their errors
`render`           a decoded picture to pixels, as a preset says
`unreadable`       the reasons of rejects
=================  ==================================================================

Only what doesn't load Pillow is imported here; `decode` comes from its module.
"""

from sparsefeat.images.listing import (
    Listing,
    describe_companions,
    each_picture,
    list_pictures,
)
from sparsefeat.images.preprocess import CAFFE, Scaling, normalize
from sparsefeat.images.presets import PRESETS, Preset, preset
from sparsefeat.images.quirks import QuirkWarning, quirk_message
from sparsefeat.images.source import Source, decode_path, encode_path

__all__ = [
    "CAFFE",
    "PRESETS",
    "Listing",
    "Preset",
    "QuirkWarning",
    "Scaling",
    "Source",
    "decode_path",
    "describe_companions",
    "each_picture",
    "encode_path",
    "list_pictures",
    "normalize",
    "preset",
    "quirk_message",
]
