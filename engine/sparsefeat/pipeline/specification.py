"""What a model file and options compute, known before the network is loaded."""

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
    choose,
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

    Everything that the rows of a store have in common follows from it: a store of other layers
    or settings is refused before a network is loaded.

    Attributes
    ----------
    file
        The model.
    options
        The options that were given.
    names
        The chosen layers in network order.
    precision
        What they are computed in.
    size
        (height, width) that the network is fixed to; None for any.

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
            names=choose(options.layers, file.metadata.layers),
            precision=choose_precision(file, options.precision),
            size=check_size(file, options.size),
        )

    @property
    def image_size(self) -> Size:
        """(height, width) that images are brought to."""
        return self.size or self.file.metadata.preprocessing.size

    @cached_property
    def preset(self) -> Preset:
        """How an image becomes an array."""
        return preset(self.options.preprocess)

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The chosen outputs in network order, with their shapes for one image."""
        return self.layers_of(self.image_size)

    def layers_of(self, size: Size) -> dict[str, Layer]:
        """Give the chosen outputs for images of another size."""
        layers = self.file.metadata.layers
        return {
            name: output_layer(name, find_layer(name, layers), size, self.options.pool)
            for name in self.names
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the numbers, and so must agree for all rows of one store."""
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
            # With lists for tuples, as a store gives it back.
            "scaling": msgspec.json.decode(msgspec.json.encode(metadata.preprocessing.scaling)),
            "size": list(self.image_size),
        }

    @cached_property
    def channel_scales(self) -> dict[str, ChannelScales]:
        """What the values of some chosen layers are whole numbers of: those of an int8 model."""
        if self.precision != "int8":
            return {}
        return read_channel_scales(self.file, self.names, self.options.pool)

    @property
    def _quantization(self) -> dict[str, str]:
        """Tell one int8 model from another of the same weights: by what their probes gave."""
        if self.precision != "int8":
            return {}
        probe = msgspec.json.encode(self.file.metadata.probe, order="sorted")
        return {"quantization_sha256": hashlib.sha256(probe).hexdigest()}
