"""What a model file says of itself: the JSON under ``metadata_props["sparsefeat"]``.

Fields that are missing or of a wrong type are an error, fields not known here are passed over.
"""

from typing import Literal

import msgspec

KEY = "sparsefeat"
FORMAT = 1


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """The graph's input, float32 (N, height, width, 3); ``None`` is a symbolic extent."""

    name: str
    height: int | None
    width: int | None


class ModelLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One Keras layer; `shape` is per picture, a symbolic extent is input extent // stride."""

    name: str
    kind: str
    shape: tuple[int | None, ...]
    rectified: bool
    stride: int | None = None

    @property
    def spatial(self) -> bool:
        """Whether the output has rows and columns: (H, W, C)."""
        return len(self.shape) == 3


class Preprocessing(msgspec.Struct, frozen=True, kw_only=True):
    """What the network expects of its input: caffe mode, and the pictures' usual size."""

    mode: Literal["caffe"]
    channel_order: Literal["BGR"]
    mean: tuple[float, float, float]
    size: tuple[int, int]  # height, width


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


class Photograph(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that the certificate was measured on."""

    name: str
    sha256: str


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The exporter's measurement of ONNX Runtime against Keras, on real photographs."""

    optimization_level: str
    limits: Limits
    photographs: tuple[Photograph, ...]
    layers: dict[str, LayerParity]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor's values for the probe input, for its eight most telling channels."""

    channels: tuple[int, ...]
    corner: tuple[float, ...]  # at row 0, column 0; for a vector, the values themselves
    avg: tuple[float, ...] = ()  # over rows and columns
    max: tuple[float, ...] = ()


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """An input that anyone can make again, and what the network makes of it."""

    height: int
    width: int
    expected: dict[str, Expected]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """All that the engine needs to know of a model."""

    format: int
    architecture: str
    input: Input
    layers: tuple[ModelLayer, ...]
    preprocessing: Preprocessing
    weights: Weights
    tools: dict[str, str]
    precision: str
    certificate: Certificate
    probe: tuple[Probe, ...]


def parse(text: str) -> Metadata:
    """Parse and validate the JSON.

    Raises
    ------
    ValueError
        It isn't JSON, a field is missing or of a wrong type, or its format is newer.
    """
    try:
        version = msgspec.json.decode(text, type=_Version).format
        if version != FORMAT:
            raise ValueError(
                f"its metadata has format {version}, this sparsefeat reads format {FORMAT}; "
                "export it again, or install the sparsefeat that exported it"
            )
        return msgspec.json.decode(text, type=Metadata)
    except msgspec.DecodeError as exc:
        raise ValueError(f"its metadata can't be read ({exc}); export it again") from exc


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    format: int
