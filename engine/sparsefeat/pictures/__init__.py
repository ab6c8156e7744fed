"""Photographs: finding them, decoding them, and preparing them as VGG16 expects.

=================  ==================================================================
`listing`          which files there are, in a stable order, and what to call them
`source`           one file found, and how its name is written down
`presets`          the named ways from a picture to pixels of the model's size
`decode`           one picture to 8-bit RGB pixels, or a reject with its reason
`quirks`           what a preset makes of an unusual picture, in one warning each
`preprocess`       pixels to the network's input: blue first, the mean subtracted
=================  ==================================================================

Import from the modules: this package loads none of them, so that naming a preset does not
cost the loading of Pillow.
"""
