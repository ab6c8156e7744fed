"""What an extractor is made with, besides the model."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Concatenate, ParamSpec, TypeVar, get_args

from sparsefeat.errors import InputError
from sparsefeat.images import Preset, preset, validate_size
from sparsefeat.model import POOLS, Pool, Size
from sparsefeat.runtime import AUTO, Convolution, CudaOptions, Precision, candidates
from sparsefeat.system import check_choice, validate_count, validate_threads

P = ParamSpec("P")
S = TypeVar("S")
Init = Callable[Concatenate[S, str | os.PathLike[str], P], None]


@dataclass(frozen=True)
class ExtractorOptions:
    """What an `Extractor` computes, and with what; checked when it is built.

    Parameters
    ----------
    layers
        Names separated by commas, or a sequence of them: ``block5_pool``, ``block5_conv3/pre``
        (before ReLU), ``pools``, ``all``, or patterns such as ``block[45]_*``.
    pool
        Global pooling of spatial layers over rows and columns: ``none``, ``avg`` or ``max``.
    size
        (height, width) of the images. By default the model's own (224x224 for VGG16 itself) for
        images, and any size of at least 32x32 for arrays given to `Extractor.run`. A model with
        layers behind block5_pool has the one size that it was exported with.
    preprocess
        The preset that makes an array of an image, or its name: ``keras``, ``bilinear``, ...
    provider
        ``cpu``, ``openvino``, ``cuda``, or ``auto`` for the fastest that can be had here. What
        was asked for runs all of the graph, or it is an error.
    precision
        ``fp32``, ``bf16`` (on processors that have it, with ``openvino``) or ``int8`` (of a
        model that was quantized); by default the model's own.
    provider_options
        `CudaOptions`, or the same as a mapping.
    convolution
        ``direct`` for ONNX Runtime's convolutions, ``winograd`` for ours, which need a quarter of
        the multiplications and are as exact as float32 allows, ``auto`` for the faster ones: ours
        with ``cpu`` in ``fp32`` on a processor that has vectors for them.
    threads
        Threads that share the work of one operator; by default as many as this process may
        really use. More than these are slower, and warned of.
    batch_size
        Images that go through the network together; by default what suits the provider, and
        fewer where their outputs would take much memory.
    decode_threads
        Images that are decoded at the same time; by default as many as `threads`.

    Raises
    ------
    ProviderError, PrecisionError
        There is no such provider, or it doesn't compute in that precision.
    InputError
        Another option has a value that it can't have. What `layers` and `size` a model has is
        known where it is opened.

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
        """Refuse what no model takes."""
        check_choice(self.pool, POOLS, "pool")
        preset(self.preprocess)
        *_, last = candidates(self.provider, self.precision or "fp32")
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
                f"provider {last.name} has no options, got {cuda!r}; they are for cuda"
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


def taking(options: Callable[P, ExtractorOptions]) -> Callable[[Init[S, ...]], Init[S, P]]:
    """Give a class that is made of a model and options the parameters that `options` takes."""

    def decorate(init: Init[S, ...]) -> Init[S, P]:
        own = list(inspect.signature(init).parameters.values())[:2]
        added = inspect.signature(options).parameters.values()
        init.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
        return init

    return decorate
