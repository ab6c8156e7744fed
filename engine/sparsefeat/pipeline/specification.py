"""Determine from a model file and options what will be computed, before loading the network."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import msgspec

from sparsefeat.images import Preset, preset
from sparsefeat.model import (
    ModelFile,
    Size,
    check_size,
    choose_layers,
    find_layer,
    output_layer,
    read_channel_scales,
)
from sparsefeat.pipeline.options import ExtractorOptions
from sparsefeat.runtime import Precision, choose_precision
from sparsefeat.types import ChannelScales, Layer


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What an `Extractor` of a model file and options computes.

    It has everything that the rows of a store have in common, so that a store with other layers or
    settings can be detected before the network is loaded.

    Attributes
    ----------
    file
        The model.
    options
        The options that were given.
    names
        The chosen layers in network order.
    precision
        The precision to compute in.
    size
        (height, width) that the network is fixed to; None for any size.

    Raises
    ------
    ModelError, LayerError, PrecisionError, InputError
        As for a new `Extractor`.
    """

    file: ModelFile
    options: ExtractorOptions
    names: tuple[str, ...]
    precision: Precision
    size: Size | None

    @classmethod
    def of(cls, model: str | os.PathLike[str], options: ExtractorOptions) -> Self:
        """Read the metadata of a model file."""
        file = ModelFile.open(model)
        return cls(
            file=file,
            options=options,
            names=choose_layers(options.layers, file.metadata.layers),
            precision=choose_precision(file, options.precision),
            size=check_size(file, options.size),
        )

    @property
    def image_size(self) -> Size:
        """(height, width) that images are resized to."""
        return self.size or self.file.metadata.preprocessing.size

    @cached_property
    def preset(self) -> Preset:
        """The preset that turns an image into an array."""
        return preset(self.options.preprocess)

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The chosen outputs in network order, with their shapes for one image."""
        return self.layers_of(self.image_size)

    def layers_of(self, size: Size) -> dict[str, Layer]:
        """Return the chosen outputs, with their shapes for an image of `size`."""
        layers = self.file.metadata.layers
        return {
            name: output_layer(name, find_layer(name, layers), size, self.options.pool)
            for name in self.names
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that determine the activations; they must be the same for a whole store."""
        metadata = self.file.metadata
        return {
            "model": {
                "architecture": metadata.architecture,
                "weights_sha256": metadata.weights.sha256,
                "precision": self.precision,
                **self._quantization,
            },
            "pool": self.options.pool,
            "preprocess": self.preset.recipe(),
            # With lists instead of tuples, as it is read back from a store.
            "scaling": msgspec.json.decode(msgspec.json.encode(metadata.preprocessing.scaling)),
            "size": list(self.image_size),
        }

    @cached_property
    def channel_scales(self) -> dict[str, ChannelScales]:
        """The scales of those chosen layers that have integer codes; empty unless int8."""
        if self.precision != "int8":
            return {}
        return read_channel_scales(self.file, self.names, self.options.pool)

    @property
    def _quantization(self) -> dict[str, str]:
        """Identify an int8 model among others with the same weights, by its probe values."""
        if self.precision != "int8":
            return {}
        probe = msgspec.json.encode(self.file.metadata.probe, order="sorted")
        return {"quantization_sha256": hashlib.sha256(probe).hexdigest()}
