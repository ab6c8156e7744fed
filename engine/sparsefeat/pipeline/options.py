"""The options of an extractor."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import TypedDict, TypeVar, get_args

from sparsefeat.errors import InputError
from sparsefeat.images import Preset, preset, validate_size
from sparsefeat.model import POOLS, Pool, Size
from sparsefeat.runtime import AUTO, Convolution, CudaOptions, Precision, candidate_providers
from sparsefeat.system import check_choice, validate_count, validate_threads

F = TypeVar("F", bound=Callable[..., object])


class KeywordOptions(TypedDict, total=False):
    """The keyword arguments of `ExtractorOptions`, for functions that pass them on to it."""

    pool: Pool
    size: Size | None
    preprocess: str | Preset
    provider: str
    precision: Precision | None
    provider_options: CudaOptions | Mapping[str, object] | None
    convolution: Convolution
    threads: int | None
    batch_size: int | None
    decode_threads: int | None


@dataclass(frozen=True)
class ExtractorOptions:
    """The options of an `Extractor`; values are checked when the object is created.

    Parameters
    ----------
    layers
        Names separated by commas, or a sequence of names: ``block5_pool``, ``block5_conv3/pre``
        (before ReLU), ``pools``, ``convs``, ``stages``, ``penultimate``, ``all``, or patterns such
        as ``block[45]_*``.
    pool
        Global pooling of spatial layers over rows and columns: ``none``, ``avg`` or ``max``.
    size
        (height, width) that images are resized to. By default the model's size (224x224 for
        VGG16); `Extractor.run` then accepts arrays of any size from 32x32 on. A model with layers
        after block5_pool accepts only the size that it was exported with.
    preprocess
        The preset that turns an image into an array, or its name: ``keras``, ``bilinear``, ...
    provider
        ``cpu``, ``openvino``, ``cuda``, or ``auto`` for the fastest that is available. If the named
        provider can't run the whole graph, that is an error.
    precision
        ``fp32``, ``bf16`` (with ``openvino``, on processors that support it) or ``int8`` (with a
        quantized model); by default that of the model.
    provider_options
        `CudaOptions`, or a mapping with its fields.
    convolution
        ``direct``: convolutions of ONNX Runtime. ``winograd``: Winograd convolutions, which need a
        quarter of the multiplications, with float32 accuracy. ``auto``: the faster of the two,
        which is Winograd with ``cpu`` in ``fp32`` on a processor with suitable vector instructions.
    threads
        Number of threads that share the work of one operator; by default the number of processors
        that this process may use. A larger number is slower and causes a warning.
    batch_size
        Number of images that go through the network together; by default chosen by provider and
        memory.
    decode_threads
        Number of images that are decoded at the same time; by default `threads`.

    Raises
    ------
    ProviderError, PrecisionError
        The provider is unknown, or does not support the precision.
    InputError
        Another option has an invalid value. `layers` and `size` are checked later, when a model is
        opened.

    Examples
    --------
    >>> ExtractorOptions("pools", pool="avg", size=(96, 128))
    ExtractorOptions('pools', pool='avg', size=(96, 128))
    """

    layers: str | Sequence[str] = "block5_pool"
    _: KW_ONLY
    pool: Pool = "none"
    size: Size | None = None
    preprocess: str | Preset = "keras"
    provider: str = "cpu"
    precision: Precision | None = None
    provider_options: CudaOptions | Mapping[str, object] | None = None
    convolution: Convolution = "auto"
    threads: int | None = None
    batch_size: int | None = None
    decode_threads: int | None = None

    def __post_init__(self) -> None:
        """Check the values as far as they don't depend on a model."""
        check_choice(self.pool, POOLS, "pool")
        preset(self.preprocess)
        *_, last = candidate_providers(self.provider, self.precision or "fp32")
        check_choice(self.convolution, get_args(Convolution), "convolution")
        for name in ("threads", "decode_threads"):
            if getattr(self, name) is not None:
                validate_threads(name, getattr(self, name))
        if self.batch_size is not None:
            validate_count("batch_size", self.batch_size)
        if self.size is not None:
            object.__setattr__(self, "size", validate_size(self.size))
        if not isinstance(self.layers, str) and isinstance(self.layers, Sequence):
            object.__setattr__(self, "layers", tuple(self.layers))
        cuda = self.provider_options or None
        if cuda is not None and self.provider not in (AUTO, "cuda"):
            raise InputError(
                f"got options {cuda!r} for provider {last.name}, which has none: use them with cuda"
            )
        if isinstance(cuda, Mapping):
            cuda = CudaOptions.of(cuda)
        object.__setattr__(self, "provider_options", cuda)

    def __repr__(self) -> str:
        changed = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)[1:]
            if getattr(self, field.name) != field.default
        )
        return f"ExtractorOptions({', '.join([repr(self.layers), *changed])})"


def show_options(function: F) -> F:
    """Replace ``**options`` in a function's signature by the keywords of `ExtractorOptions`."""
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    options = inspect.signature(ExtractorOptions).parameters.values()
    shown = (option for option in options if option.kind is option.KEYWORD_ONLY)
    function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
    return function
