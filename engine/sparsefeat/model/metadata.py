"""What a model file says of itself: the JSON under ``metadata_props["sparsefeat"]``.

Fields that are missing or of a wrong type are an error, fields not known here are passed over.
"""

from typing import Annotated, Any, Literal

import msgspec

from sparsefeat.images import SCALINGS, Scaling
from sparsefeat.model.layer_names import PRE

KEY = "sparsefeat"
FORMAT = 1

Extent = Annotated[int, msgspec.Meta(ge=1)]
Index = Annotated[int, msgspec.Meta(ge=0)]


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """The graph's input, float32 (N, height, width, 3); ``None`` is a symbolic extent."""

    name: str
    height: Extent | None
    width: Extent | None


class ModelLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One Keras layer; `shape` is per image, a symbolic extent is input extent // stride."""

    name: str
    kind: str
    shape: tuple[Extent | None, ...]
    rectified: bool
    stride: Extent | None = None

    @property
    def spatial(self) -> bool:
        """Whether the output has rows and columns: (H, W, C)."""
        return len(self.shape) == 3


class Preprocessing(msgspec.Struct, frozen=True, kw_only=True):
    """How pixels become the network's input, and the images' usual size."""

    scaling: Scaling
    size: tuple[Extent, Extent]  # height, width


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """Where the weights came from, and the digest that tells them from others."""

    source: str
    sha256: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the exporter allowed."""

    relative_l2: float
    agreement: float


class LayerParity(msgspec.Struct, frozen=True, kw_only=True):
    """How far ONNX Runtime was from Keras for one layer."""

    max_abs: float
    relative_l2: float
    agreement: float


class SampleImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that the certificate was measured on."""

    name: str
    sha256: str


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The exporter's measurement of ONNX Runtime against Keras, on real images."""

    optimization_level: str
    limits: Limits
    images: tuple[SampleImage, ...]
    layers: dict[str, LayerParity]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor's values for the probe input, for its eight most telling channels."""

    channels: tuple[Index, ...]
    corner: tuple[float, ...]  # at row 0, column 0; for a vector, the values themselves
    avg: tuple[float, ...] = ()  # over rows and columns
    max: tuple[float, ...] = ()


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """An input that anyone can make again, and what the network makes of it."""

    height: Extent
    width: Extent
    expected: dict[str, Expected]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """All that the engine needs to know of a model."""

    format: int
    architecture: Literal["vgg16"]
    input: Input
    layers: tuple[ModelLayer, ...]
    preprocessing: Preprocessing
    weights: Weights
    crc32c: dict[str, str]  # of every tensor beside the graph, its bytes' CRC-32C in hexadecimal
    tools: dict[str, str]
    precision: Literal["fp32", "int8"]
    certificate: Certificate  # of an int8 model: that of the float32 one it was made of
    probe: tuple[Probe, ...]
    quantization: dict[str, Any] | None = None  # how an int8 model was made, what it costs


def parse(text: str) -> Metadata:
    """Parse and validate the JSON.

    Raises
    ------
    ValueError
        It isn't JSON, a field is missing or of a wrong type, its format is newer, or its fields
        contradict each other.
    """
    try:
        version = msgspec.json.decode(text, type=_Version).format
        if version != FORMAT:
            raise ValueError(
                f"its metadata has format {version}, this sparsefeat reads format {FORMAT}; "
                "export it again, or install the sparsefeat that exported it"
            )
        metadata = msgspec.json.decode(text, type=Metadata)
    except msgspec.DecodeError as exc:
        raise ValueError(f"its metadata can't be read ({exc}); export it again") from exc
    if contradiction := _contradiction(metadata):
        raise ValueError(f"its metadata can't be right ({contradiction}); export it again")
    return metadata


def _contradiction(metadata: Metadata) -> str | None:
    scaling = metadata.preprocessing.scaling
    if scaling != SCALINGS.get(scaling.mode, scaling):
        return f"scaling {scaling.mode} as {scaling}, expected {SCALINGS[scaling.mode]}"
    if not all((scaling.divisor, *scaling.std)):
        return "its scaling divides by zero"
    layers = {layer.name: layer for layer in metadata.layers}
    if not layers or metadata.certificate.layers.keys() != layers.keys():
        return "the certificate is not one of these layers"
    for probe in metadata.probe:
        for name, expected in probe.expected.items():
            layer = layers.get(name.removesuffix(PRE))
            if layer is None or layer.shape[-1] is None:
                return f"the probe has values for {name}, which is no layer"
            if max(expected.channels, default=0) >= layer.shape[-1]:
                return f"the probe has values for channel {max(expected.channels)} of {name}"
            for values in (expected.corner, expected.avg, expected.max):
                if len(values) not in (len(expected.channels), 0):
                    return f"the probe has {len(values)} values for {name}"
    return None


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    format: int
