"""The metadata of a model file: the JSON in ``metadata_props["sparsefeat"]``.

A missing field or a wrong type is an error. Unknown fields are ignored.
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
    """The graph's input, float32 (N, height, width, 3); None if the model accepts any size."""

    name: str
    height: Extent | None
    width: Extent | None


class ModelLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A Keras layer; `shape` is for one image; None stands for the input's extent // stride."""

    name: str
    kind: str
    shape: tuple[Extent | None, ...]
    rectified: bool
    stride: Extent | None = None

    @property
    def spatial(self) -> bool:
        """Whether the output is a map, (H, W, C)."""
        return len(self.shape) == 3


class Preprocessing(msgspec.Struct, frozen=True, kw_only=True):
    """How pixels are scaled to the network's input, and the default size of images."""

    scaling: Scaling
    size: tuple[Extent, Extent]  # height, width


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """The source of the weights, and the SHA-256 that identifies them."""

    source: str
    sha256: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of the certificate: the largest error and the least agreement."""

    relative_l2: float
    agreement: float


class LayerParity(msgspec.Struct, frozen=True, kw_only=True):
    """The errors of one layer in ONNX Runtime compared with Keras."""

    max_abs: float
    relative_l2: float
    agreement: float


class SampleImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image of the certificate: the name and the SHA-256 of its file."""

    name: str
    sha256: str


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of ONNX Runtime with Keras that the exporter made on real images."""

    optimization_level: str
    limits: Limits
    images: tuple[SampleImage, ...]
    layers: dict[str, LayerParity]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The values of a tensor for the probe, in the eight channels with the largest magnitudes."""

    channels: tuple[Index, ...]
    corner: tuple[float, ...]  # at row 0, column 0; of a vector, the values themselves
    avg: tuple[float, ...] = ()  # over rows and columns
    max: tuple[float, ...] = ()


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """An input defined by a formula, and the expected values of each tensor for it."""

    height: Extent
    width: Extent
    expected: dict[str, Expected]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a model file."""

    format: int
    architecture: Literal["vgg16"]
    input: Input
    layers: tuple[ModelLayer, ...]
    preprocessing: Preprocessing
    weights: Weights
    crc32c: dict[str, str]  # by tensor in the data file: CRC-32C of its bytes, in hexadecimal
    tools: dict[str, str]
    precision: Literal["fp32", "int8"]
    certificate: Certificate  # of an int8 model: that of the float32 model it was made from
    probe: tuple[Probe, ...]
    quantization: dict[str, Any] | None = None  # of an int8 model: method, images and errors


def parse(text: str) -> Metadata:
    """Parse and validate the JSON.

    Raises
    ------
    ValueError
        It is not JSON, a field is missing or has a wrong type, the format is newer, or fields
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
        return "the certificate is for other layers"
    for probe in metadata.probe:
        for name, expected in probe.expected.items():
            layer = layers.get(name.removesuffix(PRE))
            if layer is None or layer.shape[-1] is None:
                return f"the probe has values for {name}, which is not a layer"
            if max(expected.channels, default=0) >= layer.shape[-1]:
                return f"the probe has values for channel {max(expected.channels)} of {name}"
            for values in (expected.corner, expected.avg, expected.max):
                if len(values) not in (len(expected.channels), 0):
                    return f"the probe has {len(values)} values for {name}"
    return None


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    format: int
